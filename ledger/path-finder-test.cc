// SPDX-License-Identifier: Apache-2.0
#include "ledger/path-finder.h"

#include "ledger/hash/sha3.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <random>

namespace ledger {
namespace {

kj::Array<kj::byte> encoded(std::initializer_list<KeyPart> parts) {
  return encodeKey(kj::arrayPtr(parts.begin(), parts.size())).get<kj::Array<kj::byte>>();
}

kj::ArrayPtr<const kj::byte> text(kj::StringPtr from) {
  return from.asBytes();
}

kj::String hexOf(kj::ArrayPtr<const kj::byte> bytes) {
  return kj::encodeHex(bytes);
}

TEST(PathFinder, EqualsFlowGosVectors) {
  auto owner = kj::decodeHex(kj::StringPtr("f233dcee88fe0abe"));
  EXPECT_EQ(hexOf(pathOf(encoded({{1, text("key part 1")}, {22, text("key part 2")}})).ptr()),
            "e9c1a3848011b91a3b5d8eec934c19f9a7682d31aad97c8535f225ce16fd3aae");
  EXPECT_EQ(hexOf(pathOf(encoded({{0, owner}, {2, text("contract_names")}})).ptr()),
            "495490da76608611785e3674aae681697b552b3fa7a271665fae218e8f761c32");
  EXPECT_EQ(hexOf(pathOf(encoded({{0, nullptr}, {2, text("uuid")}})).ptr()),
            "60ec90fff5fa347164c2fc2dd5bf3dff5ab3da953a9f0400f1389812d503f0da");
}

// Three spellings of the key without parts are one register.
TEST(PathFinder, KeyWithoutPartsHasThePathOfNothing) {
  const char* expected = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a";
  EXPECT_EQ(hexOf(pathOf(nullptr).ptr()), expected);
  EXPECT_EQ(hexOf(pathOf(encoded({})).ptr()), expected);
}

TEST(PathFinder, TypesAreDecimalAndValuesAreNotEscaped) {
  auto key = encoded({{0, text("a/b")}, {9, nullptr}, {10, text("x")}, {65535, text("/")}});
  EXPECT_EQ(hexOf(canonicalForm(key)), hexOf(text("/0/a/b/9//10/x/65535//")));
  EXPECT_TRUE(pathOf(encoded({{0, text("a")}, {2, text("b")}})) ==
              pathOf(encoded({{0, text("a/2/b")}})));
}

// The batch takes another way than the single key, and a third one for keys over its scratch: every
// size around that limit, with as many parts as fit, must come to the same path.
TEST(PathFinder, ManyKeysEqualSingleKeys) {
  std::mt19937_64 random(1);
  kj::Vector<kj::Array<kj::byte>> keys;
  for (size_t size = 0; size < 600; ++size) {
    auto value = kj::heapArray<kj::byte>(size);
    for (auto& b : value) b = random();
    keys.add(encoded({{0, value.slice(0, size / 3)}, {2, value.slice(size / 3, size)}}));
  }
  for (size_t count = 0; count < 80; ++count) {  // Values empty, types long: the form grows most.
    auto parts = kj::heapArray<KeyPart>(count);
    for (auto& part : parts) part = {65535, nullptr};
    keys.add(encodeKey(parts).get<kj::Array<kj::byte>>());
  }

  kj::Vector<EncodedKey> views;
  for (auto& key : keys) views.add(key);
  auto paths = kj::heapArray<Path>(views.size());
  pathsOf(views.asPtr(), paths);
  for (size_t i = 0; i < views.size(); ++i) {
    EXPECT_TRUE(paths[i].bytes == hash::sha3(canonicalForm(views[i])).bytes) << i;
    EXPECT_TRUE(paths[i] == pathOf(views[i])) << i;
  }
}

TEST(PathFinder, RefusesMalformedKeys) {
  const kj::byte bytes[] = {0, 1, 0, 0, 0, 9, 0, 0};
  const EncodedKey key(bytes, sizeof(bytes));
  Path path;
  EXPECT_ANY_THROW(pathOf(key));
  EXPECT_ANY_THROW(pathsOf(kj::arrayPtr(&key, 1), kj::arrayPtr(&path, 1)));
  EXPECT_ANY_THROW(pathsOf(nullptr, kj::arrayPtr(&path, 1)));
}

}  // namespace
}  // namespace ledger
