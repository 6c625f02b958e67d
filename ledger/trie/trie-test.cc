// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/trie.h"

#include "ledger/path-order.h"
#include "ledger/trie/update.h"

#include <gtest/gtest.h>

#include <random>

namespace ledger {
namespace {

// Fewer paths than descents side by side, as many, and more; found, absent at every depth, and in a
// trie of nothing.
TEST(Trie, FindsManyPathsAsOneByOne) {
  std::mt19937_64 random(21);
  auto randomPath = [&]() {
    Path path;
    for (auto& byte : path.bytes) byte = random();
    return path;
  };
  for (size_t registers : {0, 1, 2, 50, 5000}) {
    kj::Vector<Path> stored;
    kj::Vector<Payload> payloads;
    const kj::byte key[] = {0, 0}, value[] = {7};
    for (size_t i = 0; i < registers; ++i) {
      stored.add(randomPath());
      payloads.add(Payload{key, value});
    }
    auto trie = Trie::empty(kj::atomicRefcounted<Store>(
        *shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 32),
        SegmentSizes{uint64_t(64) << 10, uint64_t(1) << 20, uint64_t(64) << 10}));
    TrieUpdater updater(kj::mv(trie));
    ASSERT_TRUE(updater.plan(stored, payloads, Stop::never()));
    ASSERT_TRUE(updater.reserve() == nullptr);
    trie = updater.build();
    for (size_t count : {0, 1, 15, 16, 17, 300}) {
      for (auto nearby : {Nearby::NOTHING, Nearby::SIBLINGS}) {
        kj::Vector<Path> asked;
        for (size_t i = 0; i < count; ++i) {
          asked.add(registers > 0 && random() % 2 ? stored[random() % registers] : randomPath());
          if (random() % 4 == 0) asked.back().bytes[31] ^= 1;  // Not at this leaf.
        }
        auto records = kj::heapArray<const PayloadHeader*>(count);
        trie->find(asked, records, nearby);
        for (size_t i = 0; i < count; ++i) {
          const PayloadHeader* expected = nullptr;
          KJ_IF_MAYBE (payload, trie->find(asked[i])) expected = payload->header;
          EXPECT_EQ(records[i], expected) << registers << " " << count << " " << i;
        }
      }
    }
  }
}

// Equal paths keep their order: the last one of an update counts.
TEST(OrderByPath, IsStableAndLooksAtAllBytes) {
  kj::Vector<Path> paths;
  for (int i = 0; i < 200; ++i) {
    Path path;
    path.bytes[0] = i % 3;
    path.bytes[31] = i % 5;  // Where the first bytes are equal.
    paths.add(path);
  }
  auto order = orderByPath(paths);
  ASSERT_EQ(order.size(), paths.size());
  for (size_t i = 1; i < order.size(); ++i) {
    const auto& before = paths[order[i - 1]];
    const auto& after = paths[order[i]];
    EXPECT_TRUE(before < after || (before == after && order[i - 1] < order[i])) << i;
  }
}

}  // namespace
}  // namespace ledger
