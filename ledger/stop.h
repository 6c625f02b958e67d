// SPDX-License-Identifier: Apache-2.0
#pragma once
// Asks whether work is still wanted. Long operations look at it between leaves.

#include "ledger/error.h"

namespace ledger {

// Thread: requested() may be called from any thread.
class Stop {
public:
  virtual bool requested() const = 0;

  // For callers that never stop.
  static const Stop& never();

protected:
  ~Stop() = default;
};

inline const Stop& Stop::never() {
  static constexpr struct final : public Stop {
    bool requested() const override { return false; }
  } NEVER;
  return NEVER;
}

// The refusal of whoever found that its work is not wanted any more.
inline Error callCancelled() {
  return makeError(Code::CANCELLED, Reason::CANCELLED, "the call was cancelled");
}

}  // namespace ledger
