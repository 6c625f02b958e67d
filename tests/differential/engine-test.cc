// SPDX-License-Identifier: Apache-2.0
// The engine against a trie that is obviously right: random registers come, change and go on
// several branches, large and small updates, in one thread and in many, with every way of hashing
// that this CPU has; roots, values and proofs are compared.
//
//   LEDGERD_ENGINE_ROUNDS=N   instead of a few rounds; LEDGERD_ENGINE_SEED=N: another beginning.

#include "ledger/hash/hash-kernel.h"
#include "ledger/proof/batch.h"
#include "ledger/proof/prove.h"
#include "ledger/thread-pool.h"
#include "ledger/trie/update.h"
#include "tests/differential/reference-trie.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>

#include <cstdlib>
#include <memory>
#include <random>

namespace ledger {
namespace {

constexpr size_t COMPARED_PROOFS = 4;  // Of a batch, about.

constexpr kj::byte KEY[] = {0, 0};  // Not hashed, and the same for all: no parts.

uint64_t fromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

std::string asString(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

// A state in both forms.
struct State {
  kj::Own<const Trie> trie;
  ReferenceTrie reference;
};

class EngineTest : public testing::TestWithParam<hash::HashKernel> {
protected:
  void SetUp() override {
    for (auto kernel : hash::supportedHashKernels()) {
      if (kernel != GetParam()) continue;
      before = hash::hashKernel();
      hash::useHashKernel(kernel);
      return;
    }
    GTEST_SKIP() << "skipped, because this CPU cannot run " << hash::nameOf(GetParam()).cStr();
  }
  void TearDown() override { hash::useHashKernel(before); }

  // Paths are random, or share the bits up to some depth with one that is known.
  Path anyPath() {
    Path path;
    for (auto& byte : path.bytes) byte = random();
    if (known.empty() || random() % 2 == 0) return path;
    const auto& like = known[random() % known.size()];
    if (random() % 2 == 0) return like;
    static constexpr unsigned DEPTHS[] = {1, 4, 7, 8, 9, 20, 39, 40, 41, 100, 200, 230};
    const auto depth = DEPTHS[random() % std::size(DEPTHS)];
    for (unsigned bit = 0; bit < depth; ++bit) {
      const kj::byte mask = 0x80 >> bit % 8;
      path.bytes[bit / 8] = (path.bytes[bit / 8] & ~mask) | (like.bytes[bit / 8] & mask);
    }
    return path;
  }

  State update(const State& parent) {
    State next{{}, parent.reference};
    kj::Vector<Path> paths;
    std::vector<std::string> values;
    const auto count = std::vector{1, 3, 40, 150}[random() % 4];
    const auto unallocated = random() % 3;
    for (int i = 0; i < count; ++i) {
      paths.add(anyPath());
      known.push_back(paths.back());
      values.emplace_back(random() % 4 < unallocated ? 0 : 1 + random() % 300, char(random()));
      next.reference.set(paths.back(), values.back());
    }
    auto payloads = KJ_MAP(value, values) {
      return Payload{KEY, kj::StringPtr(value.c_str(), value.size()).asBytes()};
    };
    TrieUpdater updater(kj::atomicAddRef(*parent.trie), random() % 2 ? *pool : ThreadPool::none());
    KJ_ASSERT(updater.plan(paths, payloads, Stop::never()));
    KJ_ASSERT(updater.reserve() == nullptr);
    next.trie = updater.build();
    return next;
  }

  void compareProofs(const State& state) {
    std::set<Path> asked;
    for (unsigned i = random() % 300; i > 0; --i) asked.insert(anyPath());
    kj::Vector<Path> paths;
    for (const auto& path : asked) paths.add(path);
    auto result = prove(*state.trie, paths, Stop::never(), UNLIMITED_PROOF,
                        random() % 2 ? *pool : ThreadPool::none());
    ASSERT_TRUE(result.is<BatchProof>()) << result.get<Error>().message.cStr();
    auto& batch = result.get<BatchProof>();
    auto bytes = kj::heapArray<kj::byte>(batch.encodedSize());
    batch.encode(bytes);
    auto decoded = decodeBatch(bytes);
    auto& proofs = decoded.get<kj::Array<TrieProof>>();
    ASSERT_EQ(proofs.size(), asked.size());
    // The reference works out the whole trie for each: not for all of them.
    size_t i = 0;
    for (const auto& path : asked) {
      const auto& proof = proofs[i++];
      ASSERT_EQ(proof.path, path);
      if (random() % asked.size() >= COMPARED_PROOFS) continue;
      const auto expected = state.reference.prove(path, asked);
      ASSERT_EQ(asString(proof.payload.value), expected.value);
      ASSERT_EQ(unsigned(proof.steps), expected.steps);
      ASSERT_EQ(proof.interims.size(), expected.interims.size());
      size_t interim = 0;
      for (unsigned depth = 0; depth < expected.steps; ++depth) {
        if (!proof.flag(depth)) continue;
        ASSERT_EQ(expected.flaggedDepths[interim], depth);
        ASSERT_EQ(proof.interims[interim], expected.interims[interim]);
        ++interim;
      }
    }
  }

  std::mt19937_64 random{fromEnvironment("LEDGERD_ENGINE_SEED", 17)};
  std::vector<Path> known;
  const std::unique_ptr<const ThreadPool> pool = std::make_unique<ThreadPool>(3);
  hash::HashKernel before = hash::hashKernel();
};

TEST_P(EngineTest, IsTheTrieOfItsDefinition) {
  const auto rounds = fromEnvironment("LEDGERD_ENGINE_ROUNDS", 4);
  for (uint64_t round = 0; round < rounds; ++round) {
    known.clear();
    auto store = kj::atomicRefcounted<Store>(
        *shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 32),
        SegmentSizes{uint64_t(64) << 10, uint64_t(1) << 20, uint64_t(64) << 10});
    std::vector<State> states;
    states.push_back({Trie::empty(kj::atomicAddRef(*store)), {}});
    for (int step = 0; step < 8; ++step) {
      states.push_back(update(states[random() % states.size()]));
      const auto& made = states.back();
      ASSERT_EQ(made.trie->rootHash(), made.reference.root()) << round << " " << step;
      for (int i = 0; i < 50; ++i) {
        const auto path = anyPath();
        ASSERT_EQ(asString(made.trie->read(path)), made.reference.get(path));
      }
      compareProofs(states[random() % states.size()]);
      ASSERT_FALSE(HasFatalFailure()) << round << " " << step;
      if (states.size() > 4) states.erase(states.begin() + random() % states.size());
    }
    states.clear();
    EXPECT_EQ(store->nodes.live(), 0u);
    EXPECT_EQ(store->payloads.live(), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(
    OnEachKernel, EngineTest,
    testing::ValuesIn(hash::allHashKernels().begin(), hash::allHashKernels().end()),
    [](const auto& info) { return std::string(hash::nameOf(info.param).cStr()); });

}  // namespace
}  // namespace ledger
