// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie-update.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>
#include <kj/string.h>

namespace ledger {
namespace {

// flow-go's: a register is set and a global one unallocated.
constexpr const char* UPDATE =
    "00000b00206a7a565add94fb36069d79e8725c221cd1e5740742501ef014ea6db999fd98ad000000020020"
    "9e2bf4c1bd74ef0f52f7c4bd23d6d1e1073b54f1700cd1b25b97aae878fbccba"
    "60ec90fff5fa347164c2fc2dd5bf3dff5ab3da953a9f0400f1389812d503f0da"
    "0000002d0000001f00020000000a0000f233dcee88fe0abe0000000b00022400000000000000010000000000000002"
    "aabb"
    "0000001e000000120002000000020000000000060002757569640000000000000000";

kj::Array<kj::byte> fromHex(kj::StringPtr text) {
  return kj::decodeHex(text);
}
kj::String hexOf(kj::ArrayPtr<const kj::byte> bytes) {
  return kj::encodeHex(bytes);
}

kj::String reencoded(const TrieUpdate& update) {
  auto out = kj::heapArray<kj::byte>(encodedSize(update).get<uint64_t>());
  encodeTrieUpdate(update, out);
  return hexOf(out);
}

kj::ArrayPtr<const kj::byte> neverRead(uint64_t size) {
  static const kj::byte NOTHING = 0;
  return kj::arrayPtr(&NOTHING, size);
}

TEST(TrieUpdates, EncodeAndDecodeAsFlowGo) {
  auto bytes = fromHex(UPDATE);
  auto result = decodeTrieUpdate(bytes);
  auto& update = result.get<DecodedTrieUpdate>();
  ASSERT_EQ(update.paths.size(), 2u);
  EXPECT_EQ(hexOf(update.payloads[0].value), "aabb");
  EXPECT_EQ(update.payloads[1].value.size(), 0u);
  EXPECT_EQ(hexOf(update.paths[1].ptr().slice(0, 4)), "60ec90ff");
  EXPECT_EQ(reencoded(update.view()), UPDATE);
}

TEST(WalRecords, AreAnOperationAndItsObject) {
  auto bytes = fromHex(kj::str("01", UPDATE));
  auto result = decodeWalRecord(bytes);
  auto update = result.get<LogRecord>().get<DecodedTrieUpdate>().view();
  auto out = kj::heapArray<kj::byte>(walRecordSize(update).get<uint64_t>());
  encodeWalRecord(update, out);
  EXPECT_EQ(hexOf(out), hexOf(bytes));

  WalDelete deletion;
  deletion.root.bytes[0] = 9;
  auto deleted = encodeWalRecord(deletion);
  EXPECT_EQ(hexOf(deleted.slice(0, 4)), "02002009");
  EXPECT_TRUE(decodeWalRecord(deleted).get<LogRecord>().get<WalDelete>().root == deletion.root);
}

TEST(WalRecords, RefuseOtherOperationsAndOddRoots) {
  for (auto hex : {"", "00", "03", "02", "02001f", "020020", "0200210000"}) {
    auto bytes = fromHex(hex);
    EXPECT_TRUE(decodeWalRecord(bytes, Strictness::FLOW_GO).is<Error>()) << hex;
  }
}

// flow-go encodes an update without paths and then cannot decode it.
TEST(TrieUpdates, WithoutPathsAreNotRead) {
  auto hex = reencoded({});
  EXPECT_EQ(hex.size(), 2 * 41u);
  auto bytes = fromHex(hex);
  EXPECT_TRUE(decodeTrieUpdate(bytes).is<Error>());
  EXPECT_TRUE(decodeTrieUpdate(bytes, Strictness::FLOW_GO).is<Error>());
  auto followed = fromHex(kj::str(hex, "0020"));
  EXPECT_TRUE(decodeTrieUpdate(followed).is<Error>());
  EXPECT_TRUE(decodeTrieUpdate(followed, Strictness::FLOW_GO).is<DecodedTrieUpdate>());
}

// Counts from outside must not allocate: four thousand million paths in 64 bytes.
TEST(TrieUpdates, RefuseCountsThatTheBytesCannotHold) {
  auto bytes = fromHex(UPDATE);
  for (unsigned i = 37; i < 41; ++i) bytes[i] = 0xff;
  auto result = decodeTrieUpdate(bytes, Strictness::FLOW_GO);
  ASSERT_TRUE(result.is<Error>());
  EXPECT_NE(std::string(result.get<Error>().message.cStr()).find("4294967295 paths"),
            std::string::npos);
}

TEST(TrieUpdates, RefuseWhatWouldOverflowAField) {
  Path path;
  const Payload whole = {nullptr, neverRead(UINT32_MAX - 12)};
  const Payload over = {nullptr, neverRead(UINT32_MAX - 11)};
  const Payload both = {neverRead(1 << 30), neverRead(uint64_t(3) << 30)};
  auto sizeOf = [&](const Payload& payload) {
    return encodedSize({RootHash(), kj::arrayPtr(&path, 1), kj::arrayPtr(&payload, 1)});
  };
  EXPECT_TRUE(sizeOf(whole).is<uint64_t>());
  EXPECT_TRUE(sizeOf(over).get<Error>().reason == Reason::TOO_LARGE);
  EXPECT_TRUE(sizeOf(both).get<Error>().reason == Reason::TOO_LARGE);
  const TrieUpdate uneven = {RootHash(), kj::arrayPtr(&path, 1), nullptr};
  EXPECT_TRUE(walRecordSize(uneven).get<Error>().reason == Reason::BAD_REQUEST);
}

// A torn or damaged record must give an error or an update that encodes to the same bytes, and
// must not be read past its end (asan).
TEST(TrieUpdates, SurviveEveryTruncationAndFlippedBit) {
  auto bytes = fromHex(kj::str("01", UPDATE));
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    auto damaged = kj::heapArray<kj::byte>(bytes.slice(0, cut));
    EXPECT_TRUE(decodeWalRecord(damaged).is<Error>()) << cut;
    EXPECT_TRUE(decodeWalRecord(damaged, Strictness::FLOW_GO).is<Error>()) << cut;
  }
  unsigned taken = 0;
  for (size_t bit = 8; bit < bytes.size() * 8; ++bit) {
    auto damaged = kj::heapArray<kj::byte>(bytes);
    damaged[bit / 8] ^= 1 << bit % 8;
    decodeWalRecord(damaged, Strictness::FLOW_GO);
    auto result = decodeWalRecord(damaged);
    if (result.is<Error>()) continue;
    ++taken;
    auto& update = result.get<LogRecord>().get<DecodedTrieUpdate>();
    EXPECT_EQ(kj::str("01", reencoded(update.view())), hexOf(damaged)) << bit;
  }
  EXPECT_GT(taken, 0u);
}

TEST(TrieUpdates, TrailingBytesAreFlowGosOnly) {
  auto bytes = fromHex(kj::str(UPDATE, "00"));
  EXPECT_TRUE(decodeTrieUpdate(bytes).is<Error>());
  auto result = decodeTrieUpdate(bytes, Strictness::FLOW_GO);
  EXPECT_EQ(reencoded(result.get<DecodedTrieUpdate>().view()), UPDATE);
}

}  // namespace
}  // namespace ledger
