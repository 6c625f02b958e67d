// SPDX-License-Identifier: Apache-2.0
#pragma once
// One line of cases.txt, which says what the operations do.

#include <kj/common.h>
#include <kj/string.h>

#include <cstdint>

namespace ledger::bench {

struct Case {
  kj::String name;
  kj::String operation;
  uint64_t size;
  uint64_t samples;
};

// Null for a line without a case. Throws if it has something else.
kj::Maybe<Case> parseCase(kj::StringPtr line);

}  // namespace ledger::bench
