// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/default-hashes.h"

#include "ledger/hash/sha3.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>

namespace ledger::hash {
namespace {

Hash fromHex(kj::StringPtr text) {
  return Hash::copyOf(kj::decodeHex(text));
}

struct AtHeight {
  unsigned height;
  kj::StringPtr hex;
};

// flow-go's values; the last is the state of the empty ledger.
TEST(DefaultHash, EqualsFlowGos) {
  const AtHeight expected[] = {
      {0, "18373b4b038cbbf37456c33941a7e346e752acd8fafa896933d4859002b62619"},
      {1, "106e17c0ad77b4566cfd3f169ab5015d2c745c2d439e2e40ff507e2b38024bb8"},
      {8, "05f8255f8145bd4b7fc0abe1808cd94cf1f8080980de4557dae83e19f12c9da7"},
      {128, "acbd08fb3ce73c5c120b32cc2c6f1070475f21e4eaa0adb6949e75edcdabc66a"},
      {255, "7c5d4d61931ebceb8fe435c5a4f30f85e6b8b8b6ed369724a9079dce8c1201df"},
      {256, "568f4ec740fe3b5de88034cb7b1fbddb41548b068f31aebc8ae9189e429c5749"},
  };
  for (const auto& [height, hex] : expected) {
    EXPECT_TRUE(defaultHash(height) == fromHex(hex)) << "height " << height;
  }
  EXPECT_ANY_THROW(defaultHash(257));
}

// flow-go's chain of one leaf. A chain that takes the bits from the wrong end, or the wrong
// sibling, leaves it at the first height where the two differ.
TEST(CompactLeafHash, EqualsFlowGosAtEveryKindOfHeight) {
  Path path;
  path.bytes[0] = 1;
  path.bytes[1] = 2;
  path.bytes[31] = 0xff;
  const kj::byte value[] = {0xca, 0xfe};
  const AtHeight expected[] = {
      {0, "bba98ae96105eca62b4c5700d421491ada14f405bf36c0a5d50a4cc061e52d33"},
      {1, "bba7ec237a396a78bdeae159447c3e7511cc10f46cdd8279d721a3ced6312b77"},
      {2, "0df38accca3ce67c6df58decf77c414aa8a2b47d30c125846bb4c4eef090dc13"},
      {8, "d16ffb5310f2924cf0d2e1cc0e448e404d1ff3d5b0ce29358334769522e11405"},
      {9, "4570558fcbc25954ea371aa7c62b19f996e53ec37865ec7693c79e1a8246d642"},
      {240, "3ba43493b252670e166187abb4ee02c09c07fcd2be0757e701f80941e3084bc6"},
      {248, "4036447d563f557c08c274062b444dc14e9bf2ba30cb52d8c2bd92fc39312693"},
      {255, "3ecde0dc43a0c14b8843f6b8e72b578b8699a46288d4577516ecac77d4c17308"},
      {256, "4191b6b0d6fe301695dbff98d14d82ce5e4be539405388ebb7390d794d09cfb6"},
  };
  for (const auto& [height, hex] : expected) {
    EXPECT_TRUE(compactLeafHash(path, value, height) == fromHex(hex)) << "height " << height;
  }
}

// An unallocated register must not be told from an empty subtrie.
TEST(CompactLeafHash, OfAnEmptyValueIsTheDefault) {
  Path path;
  path.bytes[0] = 0x5a;
  for (unsigned height = 0; height <= TRIE_HEIGHT; ++height) {
    EXPECT_TRUE(compactLeafHash(path, nullptr, height) == defaultHash(height));
  }
}

}  // namespace
}  // namespace ledger::hash
