// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/batch.h"

#include "ledger/proof/proof-fixture.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>
#include <kj/string.h>

namespace ledger {
namespace {

// flow-go's own test proof, which has two flag bytes only.
constexpr const char* BODY =
    "800702"
    "8200"
    "0020"
    "014a000000000000000000000000000000000000000000000000000000000000"
    "0000000000000016"
    "000000090001000000030000410000000000000001"
    "41"
    "02"
    "0020accb0399dd2b3a7a48618b2376f5e61d822e0c7736b044c364a05c2904a2f315"
    "0020f3fba426a2f01c342304e3ca7796c3980c62c625f7fd43105ad5afd92b165542";

kj::Array<kj::byte> fromHex(kj::StringPtr text) {
  return kj::decodeHex(text);
}
kj::String hexOf(kj::ArrayPtr<const kj::byte> bytes) {
  return kj::encodeHex(bytes);
}

TEST(TrieProofs, EncodeAndDecodeAsFlowGo) {
  auto bytes = fromHex(kj::str("000007", BODY));
  auto result = decodeStandaloneProof(bytes);
  const auto& proof = result.get<TrieProof>();
  EXPECT_EQ(proof.steps, 7);
  EXPECT_TRUE(proof.flag(0) && proof.flag(6) && !proof.flag(1));
  EXPECT_EQ(hexOf(proof.payload.value), "41");
  ASSERT_EQ(proof.interims.size(), 2u);
  EXPECT_EQ(hexOf(proof.interims[1].ptr().slice(0, 4)), "f3fba426");
  EXPECT_EQ(hexOf(encodeStandaloneProof(proof)), hexOf(bytes));
}

TEST(Batches, EncodeAndDecodeAsFlowGo) {
  auto hex = kj::str("00000800000002", "000000000000008a", BODY, "000000000000008a", BODY);
  auto bytes = fromHex(hex);
  auto result = decodeBatch(bytes);
  EXPECT_EQ(result.get<kj::Array<TrieProof>>().size(), 2u);
  EXPECT_EQ(hexOf(encodeBatch(result.get<kj::Array<TrieProof>>())), hex);
  EXPECT_EQ(hexOf(encodeBatch(nullptr)), "00000800000000");
}

// The answer for an absent register in an empty trie: a payload of twelve zero bytes.
TEST(Batches, AbsentRegistersHaveAnEmptyPayload) {
  TrieProof proof;
  auto flags = kj::heapArray<kj::byte>(PROOF_FLAGS_SIZE);
  for (auto& b : flags) b = 0;
  proof.flags = flags;
  auto zeros = [](size_t count) {
    return kj::encodeHex(fromHex(kj::str(kj::repeat('0', 2 * count))));
  };
  EXPECT_EQ(hexOf(encodeBatch(kj::arrayPtr(&proof, 1))),
            kj::str("00000800000001", "000000000000005a", "800020", zeros(32), "0020", zeros(32),
                    "000000000000000c", zeros(12), "00"));
}

TEST(Batches, RefuseCountsThatTheBytesCannotHold) {
  auto bytes = fromHex("000008ffffffff00000000000000000000");
  auto result = decodeBatch(bytes, Strictness::FLOW_GO);
  EXPECT_NE(std::string(result.get<Error>().message.cStr()).find("4294967295 proofs"),
            std::string::npos);
}

TEST(Batches, OddBytesAreFlowGosOnly) {
  auto taken = [](kj::StringPtr hex, Strictness strictness) {
    auto bytes = fromHex(hex);
    return decodeBatch(bytes, strictness).is<kj::Array<TrieProof>>();
  };
  auto padded = kj::str("00000800000001", "000000000000008a", BODY, "00");
  auto inside = kj::str("00000800000001", "000000000000008b", BODY, "00");
  auto inclusion =
      kj::str("00000800000001", "000000000000008a", "81", kj::StringPtr(BODY).slice(2));
  for (auto& hex : {padded.asPtr(), inside.asPtr(), inclusion.asPtr()}) {
    EXPECT_FALSE(taken(hex, Strictness::STRICT)) << hex.cStr();
    EXPECT_TRUE(taken(hex, Strictness::FLOW_GO)) << hex.cStr();
  }
}

TEST(TrieProofs, RefuseWhatWouldOverflowACount) {
  TrieProof proof;
  auto many = kj::heapArray<Hash>(256);
  auto interims = encodeInterims(many);
  proof.interims = Interims(interims);
  EXPECT_ANY_THROW(encodeStandaloneProof(proof));
}

// Damage gives an error or a batch that encodes to the same bytes; asan sees any read past the end.
TEST(Batches, SurviveEveryTruncationAndFlippedBit) {
  auto bytes = ProofFixture().batch();
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    auto damaged = kj::heapArray<kj::byte>(bytes.slice(0, cut));
    EXPECT_TRUE(decodeBatch(damaged).is<Error>()) << cut;
    EXPECT_TRUE(decodeBatch(damaged, Strictness::FLOW_GO).is<Error>()) << cut;
  }
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto damaged = kj::heapArray<kj::byte>(bytes);
    damaged[bit / 8] ^= 1 << bit % 8;
    decodeBatch(damaged, Strictness::FLOW_GO);
    auto result = decodeBatch(damaged);
    if (result.is<Error>()) continue;
    EXPECT_EQ(hexOf(encodeBatch(result.get<kj::Array<TrieProof>>())), hexOf(damaged)) << bit;
  }
}

}  // namespace
}  // namespace ledger
