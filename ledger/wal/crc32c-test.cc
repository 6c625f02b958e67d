// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/crc32c.h"

#include <gtest/gtest.h>

#include <kj/vector.h>

namespace ledger {
namespace {

kj::Array<kj::byte> counting(size_t size) {
  auto bytes = kj::heapArray<kj::byte>(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<kj::byte>(i);
  return bytes;
}

// One bit at a time, straight from the definition.
uint32_t slowest(uint32_t crc, kj::ArrayPtr<const kj::byte> bytes) {
  crc = ~crc;
  for (kj::byte b : bytes) {
    crc ^= b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

// Catches a wrong polynomial, initial value or final xor: figures seen in flow-go's files.
TEST(Crc32c, EqualsFlowGo) {
  EXPECT_EQ(crc32c(nullptr), 0u);
  EXPECT_EQ(crc32c(counting(1)), 0x527d5351u);
  EXPECT_EQ(crc32c(counting(5)), 0x2425b106u);
  EXPECT_EQ(crc32c(counting(10)), 0x022c2131u);
  EXPECT_EQ(crc32c(counting(32761)), 0x246b3216u);
}

// Catches faults at the borders of words and of the three streams, in both ways, at each alignment.
TEST(Crc32c, BothWaysAgreeWithTheDefinitionAtEveryLength) {
  auto bytes = counting(16 * 1024);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<kj::byte>(i * 167 + i / 251);
  for (size_t length = 0; length < 200; ++length) {
    for (size_t start = 0; start < 8; ++start) {
      auto part = bytes.slice(start, start + length).asConst();
      uint32_t expected = slowest(0, part);
      EXPECT_EQ(extendCrc32cByTable(0, part), expected) << length;
      if (haveCrc32cInstruction()) {
        EXPECT_EQ(extendCrc32cByInstruction(0, part), expected) << length;
      }
    }
  }
  for (size_t length : {3071, 3072, 3073, 6143, 6144, 6151, 9216, 12288, 16383}) {
    auto part = bytes.slice(1, 1 + length).asConst();
    uint32_t expected = slowest(0, part);
    EXPECT_EQ(extendCrc32cByTable(0, part), expected) << length;
    if (haveCrc32cInstruction()) {
      EXPECT_EQ(extendCrc32cByInstruction(0, part), expected) << length;
    }
  }
  if (!haveCrc32cInstruction()) {
    GTEST_SKIP() << "skipped in part, because this processor has no CRC-32C instruction";
  }
}

// Catches a state that does not survive the step from one call to the next.
TEST(Crc32c, IsTheSameInPieces) {
  auto bytes = counting(10000);
  uint32_t whole = crc32c(bytes);
  for (size_t cut : {0, 1, 7, 8, 3072, 5000, 9999, 10000}) {
    uint32_t pieces = crc32c(bytes.slice(0, cut).asConst());
    EXPECT_EQ(extendCrc32c(pieces, bytes.slice(cut, bytes.size()).asConst()), whole) << cut;
  }
}

}  // namespace
}  // namespace ledger
