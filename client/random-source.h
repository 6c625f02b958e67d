// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where random bytes come from: an interface, so that a test can say what they are.

#include <kj/common.h>

namespace ledger::client {

class RandomSource {
public:
  virtual void fill(kj::ArrayPtr<kj::byte> out) = 0;

  // The kernel's. Thread: may be used from any thread.
  static RandomSource& system();

protected:
  ~RandomSource() = default;
};

}  // namespace ledger::client
