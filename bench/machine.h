// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the figures were measured on, and which of several ways to the same result ran.

#include <kj/string.h>

namespace ledger::bench {

struct Machine {
  kj::String cpu;
  kj::String kernel;
  unsigned processors;  // That this process may use.
  kj::StringPtr hash;
  kj::StringPtr crc32c;
};

Machine describeMachine();

}  // namespace ledger::bench
