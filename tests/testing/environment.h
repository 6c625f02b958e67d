// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a test that has a long form takes from the environment.

#include <cstdint>

#include <stdlib.h>

namespace ledger::testing {

inline uint64_t fromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

}  // namespace ledger::testing
