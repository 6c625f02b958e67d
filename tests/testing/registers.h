// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keys and values to write and read.

#include "ledger/model.h"

#include <kj/array.h>

namespace ledger::testing {

// An encoded key of one part: type 2, the number in decimal.
kj::Array<kj::byte> keyOf(uint64_t number);

// `length` bytes that depend on `seed`, so that a mixed-up value shows.
kj::Array<kj::byte> valueOf(uint64_t seed, size_t length);

// Keys 0 to count - 1 and values of `length` bytes each.
struct Registers {
  Registers(size_t count, size_t length, uint64_t seed = 1);

  kj::Array<kj::Array<kj::byte>> keyBytes, valueBytes;
  kj::Array<EncodedKey> keys;
  kj::Array<Value> values;
};

}  // namespace ledger::testing
