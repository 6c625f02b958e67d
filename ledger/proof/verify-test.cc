// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/verify.h"

#include "ledger/proof/proof-fixture.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>
#include <kj/string.h>

namespace ledger {
namespace {

kj::Array<kj::byte> fromHex(kj::StringPtr text) {
  return kj::decodeHex(text);
}

// Whether each kind of verification takes `proof`, and if not, why.
struct Verdict {
  bool strict;
  bool flowGo;
  std::string why;  // Of the strict one.
};

Verdict verdictOn(const RootHash& state, const TrieProof& proof) {
  Verdict verdict = {true, true, ""};
  KJ_IF_MAYBE (error, verifyProof(state, proof, Strictness::STRICT)) {
    verdict.strict = false;
    verdict.why = error->message.cStr();
  }
  if (verifyProof(state, proof, Strictness::FLOW_GO) != nullptr) verdict.flowGo = false;
  return verdict;
}

bool mentions(const std::string& message, const char* text) {
  return message.find(text) != std::string::npos;
}

TEST(Verify, ProofsOfPresentRegistersHold) {
  ProofFixture fixture;
  for (auto& proof : fixture.proofs) {
    auto verdict = verdictOn(fixture.state, proof);
    EXPECT_TRUE(verdict.strict && verdict.flowGo) << verdict.why;
  }
}

// Its flags are too short for STRICT.
TEST(Verify, FlowGosOwnVectorHoldsTheirWay) {
  auto flags = fromHex("8200");
  auto key = fromHex(
      "0001000000030000"
      "41");
  auto value = fromHex("41");
  auto interims = fromHex(
      "0020accb0399dd2b3a7a48618b2376f5e61d822e0c7736b044c364a05c2904a2f315"
      "0020f3fba426a2f01c342304e3ca7796c3980c62c625f7fd43105ad5afd92b165542");
  TrieProof proof;
  proof.steps = 7;
  proof.flags = flags;
  proof.path.bytes[0] = 0x01;
  proof.path.bytes[1] = 0x4a;
  proof.payload = {key, value};
  proof.interims = Interims(interims);
  auto state =
      RootHash::copyOf(fromHex("4a9f3a15d7257b624b645955576f62edcceff5e125f49585cdf077d9f37c7ac0"));
  auto verdict = verdictOn(state, proof);
  EXPECT_TRUE(verdict.flowGo);
  EXPECT_FALSE(verdict.strict);
  EXPECT_TRUE(mentions(verdict.why, "2 flag bytes")) << verdict.why;
}

// What flow-go leaves out, one by one: STRICT must say no, and why.
TEST(Verify, StrictSeesWhatFlowGoIgnores) {
  ProofFixture fixture;
  const TrieProof& good = fixture.proofs[0];

  TrieProof absent = good;
  absent.inclusion = Inclusion::ABSENT;

  auto longFlags = kj::heapArray<kj::byte>(PROOF_FLAGS_SIZE + 1);
  for (auto& b : longFlags) b = 0;
  memcpy(longFlags.begin(), fixture.flags.begin(), PROOF_FLAGS_SIZE);
  TrieProof moreFlags = good;
  moreFlags.flags = longFlags;

  auto lowFlags = kj::heapArray<kj::byte>(fixture.flags.asPtr());
  lowFlags[31] = 1;
  TrieProof flagBelow = good;
  flagBelow.flags = lowFlags;

  const Hash both[] = {Hash(), good.interims[0]};
  auto interims = encodeInterims(kj::arrayPtr(both, 2));
  TrieProof surplus = good;
  surplus.interims = Interims(interims);

  TrieProof otherKey = good;
  otherKey.payload.key = fixture.keys[1];

  auto brokenKey = kj::heapArray<kj::byte>(fixture.keys[0].slice(0, fixture.keys[0].size() - 1));
  TrieProof malformedKey = good;
  malformedKey.payload.key = brokenKey;

  struct Case {
    const TrieProof& proof;
    const char* message;
  };
  const Case cases[] = {
      {absent, "no inclusion"},
      {moreFlags, "33 flag bytes"},
      {flagBelow, "flag at depth 255"},
      {surplus, "1 interims more"},
      {otherKey, "the proof's key has path"},
      {malformedKey, "key is malformed"},
  };
  for (const auto& [proof, message] : cases) {
    auto verdict = verdictOn(fixture.state, proof);
    EXPECT_TRUE(verdict.flowGo) << message;
    EXPECT_FALSE(verdict.strict) << message;
    EXPECT_TRUE(mentions(verdict.why, message)) << verdict.why;
  }
}

TEST(Verify, NeitherTakesAFalseProof) {
  ProofFixture fixture;
  const TrieProof& good = fixture.proofs[0];

  TrieProof otherValue = good;
  otherValue.payload.value = fixture.values[1];
  TrieProof otherPath = good;
  otherPath.path.bytes[31] ^= 1;
  TrieProof fewerInterims = good;
  fewerInterims.interims = Interims();
  TrieProof otherInterim = good;
  otherInterim.interims = fixture.proofs[1].interims;
  TrieProof noFlags = good;  // flow-go panics here.
  noFlags.flags = nullptr;
  TrieProof emptied = good;
  emptied.payload = Payload();

  for (auto* proof : {&otherValue, &otherPath, &fewerInterims, &otherInterim, &noFlags, &emptied}) {
    auto verdict = verdictOn(fixture.state, *proof);
    EXPECT_FALSE(verdict.strict);
    EXPECT_FALSE(verdict.flowGo) << verdict.why;
  }
  EXPECT_FALSE(verdictOn(RootHash(), good).flowGo);
}

TEST(Verify, BatchesGiveWhatTheyProve) {
  ProofFixture fixture;
  auto batch = fixture.batch();
  auto result = verifyBatch(fixture.state, batch, Strictness::STRICT);
  auto& proven = result.get<kj::Array<ProvenRegister>>();
  ASSERT_EQ(proven.size(), 2u);
  EXPECT_TRUE(proven[1].key == fixture.keys[1].asPtr());
  EXPECT_TRUE(proven[1].value == fixture.values[1].asPtr());

  auto nothing = encodeBatch(nullptr);
  EXPECT_TRUE(verifyBatch(RootHash(), nothing, Strictness::STRICT).is<kj::Array<ProvenRegister>>());
}

TEST(Verify, BatchesNameTheProofAtFault) {
  ProofFixture fixture;
  std::swap(fixture.proofs[0], fixture.proofs[1]);
  auto unordered = fixture.batch();
  EXPECT_TRUE(
      verifyBatch(fixture.state, unordered, Strictness::FLOW_GO).is<kj::Array<ProvenRegister>>());
  auto result = verifyBatch(fixture.state, unordered, Strictness::STRICT);
  EXPECT_TRUE(mentions(result.get<Error>().message.cStr(), "proof 1: path "));

  fixture.proofs[1].payload.value = fixture.values[0].slice(0, 1);
  auto falseOne = fixture.batch();
  result = verifyBatch(fixture.state, falseOne, Strictness::FLOW_GO);
  EXPECT_TRUE(mentions(result.get<Error>().message.cStr(), "proof 1: "));
  EXPECT_TRUE(mentions(result.get<Error>().message.cStr(), "leads to state"));
}

// No byte of a batch is outside its checks. The one that may change is `steps`, to a greater
// number: the leaf is then said to stand deeper, above empty siblings, which hashes the same and
// proves the same register.
TEST(Verify, StrictTakesNoFlippedBitThatChangesWhatIsProven) {
  ProofFixture fixture;
  auto batch = fixture.batch();
  const size_t first = 7 + 8 + 1;  // Prefix and count, length, inclusion.
  const size_t second = first + 8 + encodedSize(fixture.proofs[0]);
  for (size_t bit = 0; bit < batch.size() * 8; ++bit) {
    auto damaged = kj::heapArray<kj::byte>(batch.asPtr());
    damaged[bit / 8] ^= 1 << bit % 8;
    verifyBatch(fixture.state, damaged, Strictness::FLOW_GO);
    auto result = verifyBatch(fixture.state, damaged, Strictness::STRICT);
    if (result.is<Error>()) continue;
    EXPECT_TRUE(bit / 8 == first || bit / 8 == second) << "byte " << bit / 8;
    auto& proven = result.get<kj::Array<ProvenRegister>>();
    for (unsigned i = 0; i < 2; ++i) {
      EXPECT_TRUE(proven[i].path == fixture.proofs[i].path);
      EXPECT_TRUE(proven[i].key == fixture.keys[i].asPtr());
      EXPECT_TRUE(proven[i].value == fixture.values[i].asPtr());
    }
  }
}

TEST(CoversExactly, ComparesPathsAndHowOften) {
  ProofFixture fixture;
  auto batch = fixture.batch();
  auto result = verifyBatch(fixture.state, batch, Strictness::STRICT);
  auto proven = result.get<kj::Array<ProvenRegister>>().asPtr();
  const EncodedKey a = fixture.keys[0];
  const EncodedKey b = fixture.keys[1];

  auto covers = [](kj::ArrayPtr<const ProvenRegister> proven,
                   std::initializer_list<EncodedKey> keys) {
    return coversExactly(proven, kj::arrayPtr(keys.begin(), keys.size())) == nullptr;
  };
  EXPECT_TRUE(covers(proven, {a, b}));
  EXPECT_TRUE(covers(proven, {b, a}));
  EXPECT_TRUE(covers(nullptr, {}));
  EXPECT_FALSE(covers(proven, {a}));
  EXPECT_FALSE(covers(proven, {b}));
  EXPECT_FALSE(covers(proven, {a, b, b}));
  EXPECT_FALSE(covers(proven, {a, a}));
  EXPECT_FALSE(covers(proven, {}));
  EXPECT_FALSE(covers(nullptr, {a}));
  EXPECT_FALSE(covers(proven, {a, b.slice(0, b.size() - 1)}));
}

}  // namespace
}  // namespace ledger
