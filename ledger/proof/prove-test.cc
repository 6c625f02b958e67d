// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/prove.h"

#include "ledger/proof/batch.h"
#include "ledger/proof/verify.h"
#include "ledger/trie/update.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>

#include <random>
#include <set>
#include <vector>

namespace ledger {
namespace {

kj::Own<const Trie> emptyTrie() {
  return Trie::empty(kj::atomicRefcounted<Store>(
      *shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 32),
      SegmentSizes{uint64_t(64) << 10, uint64_t(1) << 20, uint64_t(64) << 10}));
}

kj::Own<const Trie> update(const Trie& parent, kj::ArrayPtr<const Path> paths,
                           kj::ArrayPtr<const Payload> payloads) {
  TrieUpdater updater(kj::atomicAddRef(parent));
  KJ_ASSERT(updater.plan(paths, payloads, Stop::never()));
  KJ_ASSERT(updater.reserve() == nullptr);
  return updater.build();
}

Path pathFrom(std::initializer_list<kj::byte> start) {
  Path path;
  std::copy(start.begin(), start.end(), path.bytes.begin());
  return path;
}

kj::Array<kj::byte> encoded(const Trie& trie, kj::ArrayPtr<const Path> paths,
                            const ThreadPool& pool = ThreadPool::none()) {
  auto result = prove(trie, paths, Stop::never(), UNLIMITED_PROOF, pool);
  auto& proof = result.get<BatchProof>();
  auto out = kj::heapArray<kj::byte>(proof.encodedSize());
  proof.encode(out);
  return out;
}

struct Letter {
  kj::byte key[9] = {0, 1, 0, 0, 0, 3, 0, 0, 0};
  kj::byte value[1];
  Letter(char upper, char lower) {
    key[8] = upper;
    value[0] = lower;
  }
  Payload payload() const { return {key, value}; }
};

// flow-go's own bytes for a query whose absent paths change their neighbours' proofs.
TEST(Prove, EncodesTheWorkedExample) {
  Letter a('A', 'a'), b('B', 'b'), d('D', 'd');
  Path stored[] = {pathFrom({0}), pathFrom({1}), pathFrom({0xc0})};
  Payload payloads[] = {a.payload(), b.payload(), d.payload()};
  auto trie = update(*emptyTrie(), stored, payloads);
  EXPECT_STREQ(kj::encodeHex(trie->rootHash().ptr()).cStr(),
               "0e4cfad9e4c79f5219ed7b46d40abd5602973c873019d817f5f28298962f88e6");

  Path asked[] = {pathFrom({0xc0}), pathFrom({0x80}), pathFrom({1}), pathFrom({0, 1}),
                  pathFrom({0})};
  auto zeros = [](int count) { return std::string(2 * count, '0'); };
  std::string key = "0000000900010000000300", letterKey = key + "00";
  auto payload = [&](const char* upper, const char* lower) {
    return "0000000000000016" + letterKey + upper + "0000000000000001" + lower;
  };
  std::string none = "000000000000000c" + zeros(12);
  std::string right = "0020ce172417f6ec0a8404af446b0ec5e2f54f63386df2259106b60b07149e1ee558";
  std::string top = "0020bd5f9ae202b11c83ac88ee619beaf4731f5bca22176024f6dac369ff17aeb43e";
  auto expected = "00000800000005" +
                  ("00000000000000a8801020"
                   "8100" +
                   zeros(30) + "0020" + zeros(32) + payload("41", "61") + "02" + right +
                   "0020dc6f1e5f987cd576f51662d2cc53209f0c671be04af5ada6588a4390a89edc1a") +
                  ("00000000000000c0801020"
                   "8101" +
                   zeros(30) + "00200001" + zeros(30) + none + "03" + right +
                   "0020dc6f1e5f987cd576f51662d2cc53209f0c671be04af5ada6588a4390a89edc1a"
                   "0020314226a475515b11a6334e6ca7fd7af16bd255dfd1dd38d1c7b78bc35cb3d3e1") +
                  ("00000000000000a8800820"
                   "8100" +
                   zeros(30) + "002001" + zeros(31) + payload("42", "62") + "02" + right +
                   "0020e4e296b3f17fe434dd5c004be0ddcba974dcb23b929ee2b44867b0ba7839dfd6") +
                  ("000000000000009e800220"
                   "c0" +
                   zeros(31) + "002080" + zeros(31) + none + "02" + top +
                   "00209ba5c3048eadb89875d8675caeecf4e4a99b4e7450c085505c95c332774a90cf") +
                  ("0000000000000086800220"
                   "80" +
                   zeros(31) + "0020c0" + zeros(31) + payload("44", "64") + "01" + top);
  EXPECT_STREQ(kj::encodeHex(encoded(*trie, asked)).cStr(), expected.c_str());
}

TEST(Prove, OfNothingIsAnEmptyBatch) {
  EXPECT_STREQ(kj::encodeHex(encoded(*emptyTrie(), nullptr)).cStr(), "00000800000000");
}

TEST(Prove, AbsentPathsOfTheEmptyTrieHaveNoSiblings) {
  Path one[] = {pathFrom({0})};
  auto bytes = encoded(*emptyTrie(), one);
  EXPECT_EQ(decodeBatch(bytes).get<kj::Array<TrieProof>>()[0].steps, 0);
  Path two[] = {pathFrom({0}), pathFrom({1})};
  bytes = encoded(*emptyTrie(), two);
  auto batch = decodeBatch(bytes);
  for (const auto& proof : batch.get<kj::Array<TrieProof>>()) {
    EXPECT_EQ(proof.steps, 8);
    EXPECT_EQ(proof.interims.size(), 0u);
  }
}

// flow-go dies of this one.
TEST(Prove, AnswersAnAbsentPathAsOftenAsItIsAskedFor) {
  Path paths[] = {pathFrom({7}), pathFrom({7}), pathFrom({7})};
  auto bytes = encoded(*emptyTrie(), paths);
  auto batch = decodeBatch(bytes);
  auto& proofs = batch.get<kj::Array<TrieProof>>();
  ASSERT_EQ(proofs.size(), 3u);
  for (const auto& proof : proofs) EXPECT_EQ(proof.path, paths[0]);
}

// flow-go would write 0 for 256 steps, and its proof would not verify.
TEST(Prove, RefusesAProofOf256Steps) {
  Path paths[2];
  paths[1].bytes[31] = 1;
  auto proof = prove(*emptyTrie(), paths, Stop::never());
  EXPECT_EQ(proof.get<Error>().reason, Reason::PROOF_TOO_DEEP);
  paths[1].bytes[31] = 2;
  auto trie = emptyTrie();
  auto bytes = encoded(*trie, paths);
  EXPECT_EQ(decodeBatch(bytes).get<kj::Array<TrieProof>>()[0].steps, 255);
  EXPECT_TRUE(
      verifyBatch(trie->rootHash(), bytes, Strictness::STRICT).is<kj::Array<ProvenRegister>>());
}

// Every proof of every mix of present and absent paths leads to the root and says what the trie
// says. Paths share prefixes of all lengths, so leaves are pushed down everywhere.
TEST(Prove, EveryProofVerifies) {
  std::mt19937 random(9);
  auto randomPath = [&]() {
    static const unsigned BITS[] = {0, 1, 2, 3, 7, 30, 39, 40, 41, 100, 200, 254};
    Path path;
    for (auto bit : BITS) {
      if (random() % 2) path.bytes[bit / 8] |= 0x80 >> bit % 8;
    }
    return path;
  };
  for (int round = 0; round < 60; ++round) {
    auto trie = emptyTrie();
    std::vector<kj::Array<kj::byte>> values;
    for (int step = 0; step < 3; ++step) {
      kj::Vector<Path> paths;
      kj::Vector<Payload> payloads;
      kj::byte key[] = {0, 0};
      for (unsigned i = random() % 30; i > 0; --i) {
        values.push_back(kj::heapArray<kj::byte>(random() % 3 ? random() % 200 : 0));
        for (auto& byte : values.back()) byte = random();
        paths.add(randomPath());
        payloads.add(Payload{key, values.back()});
      }
      trie = update(*trie, paths, payloads);
    }
    kj::Vector<Path> asked;
    for (unsigned i = random() % 40 + 1; i > 0; --i) asked.add(randomPath());
    auto bytes = encoded(*trie, asked);
    auto verified = verifyBatch(trie->rootHash(), bytes, Strictness::FLOW_GO);
    ASSERT_TRUE(verified.is<kj::Array<ProvenRegister>>()) << verified.get<Error>().message.cStr();
    auto& proven = verified.get<kj::Array<ProvenRegister>>();
    ASSERT_EQ(proven.size(), asked.size());
    std::multiset<Path> paths(asked.begin(), asked.end());
    auto next = paths.begin();
    for (const auto& proof : proven) {
      EXPECT_EQ(proof.path, *next++);
      EXPECT_TRUE(proof.value == trie->read(proof.path));
    }
  }
}

// Where a large batch parts must not show, whatever stands there: nothing, leaves that absent
// neighbours push down, interior nodes.
TEST(Prove, ManyThreadsMakeTheBytesOfOne) {
  ThreadPool pool(4);
  std::mt19937_64 random(12);
  for (size_t registers : {0, 1, 60, 300, 3000}) {
    for (bool crowded : {false, true}) {
      auto randomPath = [&]() {
        Path path;
        for (auto& byte : path.bytes) byte = random();
        if (crowded) path.bytes[0] = random() % 2 ? 0x5a : 0x5b;
        return path;
      };
      kj::Vector<Path> paths;
      kj::Vector<Payload> payloads;
      const kj::byte key[] = {0, 0}, value[] = {1, 2, 3};
      for (size_t i = 0; i < registers; ++i) {
        paths.add(randomPath());
        payloads.add(Payload{key, random() % 8 == 0 ? Value() : Value(value)});
      }
      auto trie = update(*emptyTrie(), paths, payloads);
      kj::Vector<Path> asked;
      for (size_t i = 0; i < 1000; ++i) {
        asked.add(registers > 0 && random() % 2 ? paths[random() % registers] : randomPath());
      }
      auto alone = encoded(*trie, asked);
      EXPECT_TRUE(encoded(*trie, asked, pool) == alone) << registers << " " << crowded;
      EXPECT_TRUE(verifyBatch(trie->rootHash(), alone, Strictness::FLOW_GO)
                      .is<kj::Array<ProvenRegister>>());
      for (size_t less : {1, 1000, 20'000}) {
        auto refused = prove(*trie, asked, Stop::never(), alone.size() - less, pool);
        ASSERT_TRUE(refused.is<Error>()) << less;
        EXPECT_EQ(refused.get<Error>().reason, Reason::TOO_LARGE);
      }
    }
  }
}

class StopAtOnce final : public Stop {
public:
  bool requested() const override { return true; }
};

TEST(Prove, StopsWhenAskedTo) {
  Path path;
  auto result = prove(*emptyTrie(), kj::arrayPtr(&path, 1), StopAtOnce());
  EXPECT_EQ(result.get<Error>().code, Code::CANCELLED);
}

}  // namespace
}  // namespace ledger
