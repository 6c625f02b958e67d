// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie-update-cbor.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>
#include <kj/string.h>
#include <kj/vector.h>

namespace ledger {
namespace {

// flow-go's: a register is set and a global one unallocated.
constexpr const char* UPDATE =
    "a368526f6f744861736858206a7a565add94fb36069d79e8725c221cd1e5740742501ef014ea6db999fd98ad"
    "65506174687382"
    "58209e2bf4c1bd74ef0f52f7c4bd23d6d1e1073b54f1700cd1b25b97aae878fbccba"
    "582060ec90fff5fa347164c2fc2dd5bf3dff5ab3da953a9f0400f1389812d503f0da"
    "685061796c6f61647382"
    "a2634b6579a1684b6579506172747382a26454797065006556616c756548f233dcee88fe0abe"
    "a26454797065026556616c7565492400000000000000016556616c756542aabb"
    "a2634b6579a1684b6579506172747382a26454797065006556616c756540"
    "a26454797065026556616c756544757569646556616c756540";

kj::Array<kj::byte> fromHex(kj::StringPtr text) {
  return kj::decodeHex(text);
}
kj::String hexOf(kj::ArrayPtr<const kj::byte> bytes) {
  return kj::encodeHex(bytes);
}

kj::Array<kj::byte> encoded(const TrieUpdate& update) {
  auto out = kj::heapArray<kj::byte>(cborSize(update).get<uint64_t>());
  encodeCbor(update, out);
  return out;
}

TEST(Cbor, EncodesAndDecodesAsFlowGo) {
  auto bytes = fromHex(UPDATE);
  auto result = decodeCbor(bytes);
  ASSERT_TRUE(result.is<CborTrieUpdate>()) << result.get<Error>().message.cStr();
  auto& update = result.get<CborTrieUpdate>().update;
  EXPECT_EQ(hexOf(update.payloads[0].key),
            "00020000000a0000f233dcee88fe0abe0000000b0002240000000000000001");
  EXPECT_EQ(hexOf(update.payloads[1].key), "000200000002000000000006000275756964");
  EXPECT_EQ(hexOf(encoded(update.view())), UPDATE);
}

// Both forms of the key without parts are null, and null is read as the one that may be stored.
TEST(Cbor, KeysWithoutPartsAreNull) {
  Path path;
  const auto expected = "685061796c6f61647381a2634b6579a1684b65795061727473f66556616c756540";
  for (auto hex : {"", "0000"}) {
    auto key = fromHex(hex);
    const Payload payload = {key, nullptr};
    auto bytes = encoded({RootHash(), kj::arrayPtr(&path, 1), kj::arrayPtr(&payload, 1)});
    EXPECT_TRUE(hexOf(bytes).endsWith(expected));
    auto result = decodeCbor(bytes);
    EXPECT_EQ(hexOf(result.get<CborTrieUpdate>().update.payloads[0].key), "0000");
  }
}

TEST(Cbor, EmptyUpdatesHaveEmptyLists) {
  auto bytes = encoded({});
  EXPECT_TRUE(hexOf(bytes).endsWith("65506174687380685061796c6f61647380"));
  EXPECT_TRUE(decodeCbor(bytes).is<CborTrieUpdate>());
  bytes[bytes.size() - 1] = 0xf6;  // flow-go's nil list.
  EXPECT_TRUE(decodeCbor(bytes).is<CborTrieUpdate>());
}

// Each width of a head changes at its edge, for lists and strings; a head that is one too wide or
// too narrow would shift every byte after it.
TEST(Cbor, HeadsAreTheShortestOnBothSidesOfEachEdge) {
  for (size_t count : {1, 23, 24, 255, 256, 65535, 65536}) {
    auto paths = kj::heapArray<Path>(count);
    auto payloads = kj::heapArray<Payload>(count);
    auto value = kj::heapArray<kj::byte>(count);
    for (auto& b : value) b = 7;
    payloads[0].value = value;
    auto bytes = encoded({RootHash(), paths, payloads});
    auto result = decodeCbor(bytes);
    ASSERT_TRUE(result.is<CborTrieUpdate>()) << result.get<Error>().message.cStr();
    auto& update = result.get<CborTrieUpdate>().update;
    EXPECT_EQ(update.paths.size(), count);
    EXPECT_EQ(update.payloads[0].value.size(), count);
    EXPECT_TRUE(encoded(update.view()) == bytes) << count;
  }
}

TEST(Cbor, RefusesOtherForms) {
  kj::StringPtr good = UPDATE;
  auto replaced = [&](const char* from, const char* to) {
    std::string text = good.cStr();
    auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return fromHex(text.replace(at, strlen(from), to).c_str());
  };
  struct Case {
    kj::Array<kj::byte> bytes;
    const char* message;
  };
  kj::Vector<Case> cases;
  cases.add(Case{fromHex(kj::str(good, "00")), "1 bytes after the update"});
  cases.add(Case{fromHex(""), "end inside an item"});
  cases.add(Case{replaced("a368", "a468"), "a map of other than 3"});
  cases.add(Case{replaced("a368", "bf68"), "no map"});
  cases.add(Case{replaced("a368", "b80368"), "not the shortest"});
  cases.add(Case{replaced("a2645479706500", "a264547970651800"), "not the shortest"});
  cases.add(Case{replaced("6550617468", "6570617468"), "another name than Paths"});
  cases.add(Case{replaced("5820", "581f"), "instead of 32"});
  cases.add(Case{replaced("50617468738258",
                          "506174687381"
                          "58"),
                 "Payloads"});
  cases.add(Case{replaced("5061746873825820",
                          "5061746873"
                          "9affffffff"
                          "5820"),
                 "4294967295 elements"});
  cases.add(Case{replaced("5061746873825820",
                          "5061746873"
                          "9bffffffffffffffff"
                          "5820"),
                 "elements in"});
  cases.add(Case{replaced("547970650065", "547970651a0001000065"), "type 65536"});
  cases.add(Case{replaced("547970650065", "54797065f665"), "no number"});
  cases.add(Case{replaced("42aabb", "5bffffffffffffffffaabb"), "end inside an item"});
  cases.add(Case{replaced("42aabb", "ffaabb"), "no byte string"});
  for (auto& [bytes, message] : cases) {
    auto result = decodeCbor(bytes);
    ASSERT_TRUE(result.is<Error>()) << message;
    EXPECT_NE(std::string(result.get<Error>().message.cStr()).find(message), std::string::npos)
        << result.get<Error>().message.cStr();
  }
}

TEST(Cbor, RefusesMalformedKeysAndUnevenLists) {
  Path path;
  const kj::byte bytes[] = {0, 1};
  const Payload payload = {EncodedKey(bytes, sizeof(bytes)), nullptr};
  auto result = cborSize({RootHash(), kj::arrayPtr(&path, 1), kj::arrayPtr(&payload, 1)});
  EXPECT_TRUE(result.get<Error>().reason == Reason::BAD_KEY);
  result = cborSize({RootHash(), kj::arrayPtr(&path, 1), nullptr});
  EXPECT_TRUE(result.get<Error>().reason == Reason::BAD_REQUEST);
}

// Damage gives an error or an update that encodes to the same bytes; asan sees any read past the
// end.
TEST(Cbor, SurvivesEveryTruncationAndFlippedBit) {
  auto bytes = fromHex(UPDATE);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    auto damaged = kj::heapArray<kj::byte>(bytes.slice(0, cut));
    EXPECT_TRUE(decodeCbor(damaged).is<Error>()) << cut;
  }
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = kj::heapArray<kj::byte>(bytes.asPtr());
    damaged[bit / 8] ^= 1 << bit % 8;
    auto result = decodeCbor(damaged);
    if (result.is<Error>()) continue;
    EXPECT_EQ(hexOf(encoded(result.get<CborTrieUpdate>().update.view())), hexOf(damaged)) << bit;
  }
}

}  // namespace
}  // namespace ledger
