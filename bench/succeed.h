// SPDX-License-Identifier: Apache-2.0
#pragma once
// For calls that a benchmark cannot do without.

#include "ledger/error.h"

#include <kj/debug.h>

namespace ledger::bench {

// The result; throws with the ledger's reason if it was refused.
template <typename T>
T succeed(Result<T>&& result) {
  if (result.template is<Error>()) {
    KJ_FAIL_REQUIRE("the ledger refused", result.template get<Error>().message);
  }
  return kj::mv(result.template get<T>());
}

}  // namespace ledger::bench
