// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/registers.h"

#include <kj/string.h>

#include <string.h>

namespace ledger::testing {

kj::Array<kj::byte> keyOf(uint64_t number) {
  auto digits = kj::str(number);
  const size_t length = digits.size() + 2;  // Of the part: its type and the digits.
  auto key = kj::heapArray<kj::byte>(2 + 4 + length);
  key[0] = 0, key[1] = 1;
  for (unsigned i = 0; i < 4; ++i) key[2 + i] = kj::byte(length >> (8 * (3 - i)));
  key[6] = 0, key[7] = 2;
  memcpy(key.begin() + 8, digits.begin(), digits.size());
  return key;
}

kj::Array<kj::byte> valueOf(uint64_t seed, size_t length) {
  auto value = kj::heapArray<kj::byte>(length);
  uint64_t state = seed * 0x9E3779B97F4A7C15 + 1;
  for (auto& byte : value) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = kj::byte(state >> 56);
  }
  return value;
}

Registers::Registers(size_t count, size_t length, uint64_t seed)
    : keyBytes(kj::heapArray<kj::Array<kj::byte>>(count)),
      valueBytes(kj::heapArray<kj::Array<kj::byte>>(count)) {
  for (size_t i = 0; i < count; ++i) {
    keyBytes[i] = keyOf(i);
    valueBytes[i] = valueOf(seed + i, length);
  }
  keys = KJ_MAP(key, keyBytes)->EncodedKey {
    return key;
  };
  values = KJ_MAP(value, valueBytes)->Value {
    return value;
  };
}

}  // namespace ledger::testing
