// SPDX-License-Identifier: Apache-2.0
// A long run of blocks with eviction: what is gone must be used again, so that the stores do not
// grow beyond what lives in them.
//
//   LEDGERD_SOAK_BLOCKS=5000   instead of a short run

#include "ledger/forest.h"
#include "ledger/trie/update.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace ledger {
namespace {

constexpr uint32_t FOREST = 20;
constexpr size_t REGISTERS = 5000;
constexpr size_t WRITES = 100;  // Of a block.

struct Sizes {
  uint64_t nodes, values;    // Live, in bytes.
  uint64_t committed;        // Of both stores' memfds.
  uint64_t privateMemory;    // Beside them.
};

Sizes sizesOf(const Store& store) {
  return {store.nodes.live() * NODE_SLOT_SIZE, store.payloads.liveBytes(),
          store.nodes.committedBytes() + store.payloads.committedBytes(),
          store.nodes.privateBytes() + store.payloads.privateBytes()};
}

std::ostream& operator<<(std::ostream& out, const Sizes& sizes) {
  return out << "nodes " << sizes.nodes << ", values " << sizes.values << ", committed "
             << sizes.committed << ", beside " << sizes.privateMemory << " bytes";
}

TEST(Soak, StoresDoNotGrowBeyondWhatLives) {
  const char* wanted = getenv("LEDGERD_SOAK_BLOCKS");
  const unsigned blocks = wanted == nullptr ? 600 : std::stoul(wanted);
  auto store = kj::atomicRefcounted<Store>(
      *shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 32),
      SegmentSizes{uint64_t(64) << 10, uint64_t(1) << 20, uint64_t(64) << 10});
  Forest forest(FOREST);
  ThreadPool pool(2);
  std::mt19937_64 random(5);
  std::vector<Path> registers(REGISTERS);
  for (auto& path : registers) {
    for (auto& byte : path.bytes) byte = random();
  }
  auto newest = Trie::empty(kj::atomicAddRef(*store));
  forest.add(kj::atomicAddRef(*newest));

  Sizes most{};  // Of the first third, once the registers are all there.
  for (unsigned block = 0; block < blocks; ++block) {
    kj::Vector<Path> paths;
    std::vector<std::string> values;
    for (size_t i = 0; i < WRITES; ++i) {
      paths.add(registers[random() % REGISTERS]);
      // As on a chain: most values are short, a few are long, and some registers go.
      const auto size = random() % 50 == 0 ? random() % 20000 : random() % 300;
      values.emplace_back(random() % 10 == 0 ? 0 : size, char(random()));
    }
    const kj::byte key[] = {0, 0};
    auto payloads = KJ_MAP(value, values) {
      return Payload{key, kj::StringPtr(value.c_str(), value.size()).asBytes()};
    };
    // Now and then a fork from a state that is still there.
    auto tries = forest.tries();
    auto& parent = random() % 8 == 0 ? tries[random() % tries.size()] : tries.back();
    TrieUpdater updater(kj::atomicAddRef(*parent), pool);
    ASSERT_TRUE(updater.plan(paths, payloads, Stop::never()));
    ASSERT_TRUE(updater.reserve() == nullptr);
    newest = updater.build();
    forest.add(kj::atomicAddRef(*newest));
    if (block > blocks / 6 && block <= blocks / 3) {
      const auto now = sizesOf(*store);
      most.nodes = std::max(most.nodes, now.nodes);
      most.values = std::max(most.values, now.values);
      most.committed = std::max(most.committed, now.committed);
      most.privateMemory = std::max(most.privateMemory, now.privateMemory);
    }
  }
  const auto end = sizesOf(*store);
  std::cout << "after " << blocks / 3 << " blocks at most " << most << "; after " << blocks << ": "
            << end << "\n";
  // What lives varies with the values; what is committed follows it, within a tenth and a segment.
  const double living = double(end.nodes + end.values) / double(most.nodes + most.values);
  EXPECT_LT(end.committed, most.committed * std::max(living, 1.0) * 1.1 + (1 << 20));
  EXPECT_LT(end.privateMemory, most.privateMemory * 1.1 + (1 << 20));

  newest = nullptr;
  for (unsigned i = 0; i <= FOREST; ++i) {
    const kj::byte key[] = {0, 0}, value[] = {kj::byte(i + 1)};
    Payload payload{key, value};
    TrieUpdater updater(Trie::empty(kj::atomicAddRef(*store)));
    ASSERT_TRUE(
        updater.plan(kj::arrayPtr(&registers[0], 1), kj::arrayPtr(&payload, 1), Stop::never()));
    ASSERT_TRUE(updater.reserve() == nullptr);
    forest.add(updater.build());
  }
  EXPECT_EQ(store->nodes.live(), FOREST) << "evicted tries have left nodes behind";
  EXPECT_EQ(store->payloads.live(), FOREST);
}

}  // namespace
}  // namespace ledger
