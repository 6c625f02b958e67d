// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/slot-table.h"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <vector>

namespace ledger {
namespace {

// Groups of a few numbers, so that a test crosses many of them.
class SmallGroups final : public SlotTable::Growth {
public:
  explicit SmallGroups(uint32_t capacity, uint32_t groups = ~uint32_t(0))
      : capacity(capacity), groups(groups) {}
  uint32_t open(uint32_t) override { return capacity; }
  kj::Maybe<shm::Shortage> extend(uint32_t group, uint32_t) override {
    if (group >= groups) return shm::Shortage{kj::str("test"), 1, 0, 0};
    return nullptr;
  }

private:
  const uint32_t capacity;
  const uint32_t groups;  // For more there is no memory.
};

kj::Own<const shm::MemoryBudget> unlimited() {
  return shm::MemoryBudget::create("test", ~uint64_t(0) / 2);
}

// A number given to two owners at once would make one trie's node another's.
TEST(SlotTable, NeverGivesALiveNumberTwice) {
  SmallGroups growth(10);
  SlotTable table(unlimited(), growth, 1);
  std::mt19937 random(7);
  std::vector<uint64_t> live;
  std::set<uint64_t> seen;
  for (int round = 0; round < 2000; ++round) {
    if (live.size() < 200 && random() % 2) {
      uint64_t batch[5];
      ASSERT_TRUE(table.allocate(batch) == nullptr);
      for (auto number : batch) {
        EXPECT_TRUE(seen.insert(number).second) << number;
        EXPECT_EQ(table.references(number), 1u);
        EXPECT_NE(number & 0xffffff, 0u) << "the reserved number was handed out";
        live.push_back(number);
      }
    } else if (!live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      auto number = live.back();
      live.pop_back();
      ASSERT_TRUE(table.release(number));
      table.free(kj::arrayPtr(&number, 1));
      seen.erase(number);
    }
    ASSERT_EQ(table.live(), live.size());
  }
}

TEST(SlotTable, OnlyTheLastReferenceReleases) {
  SmallGroups growth(10);
  SlotTable table(unlimited(), growth, 0);
  uint64_t number;
  ASSERT_TRUE(table.allocate(kj::arrayPtr(&number, 1)) == nullptr);
  table.addRef(number);
  EXPECT_FALSE(table.release(number));
  EXPECT_TRUE(table.release(number));
}

// A batch that half succeeds must leave nothing behind.
TEST(SlotTable, AShortageGivesBackTheWholeBatch) {
  SmallGroups growth(10, 1);
  SlotTable table(unlimited(), growth, 1);
  uint64_t batch[10];
  EXPECT_TRUE(table.allocate(batch) != nullptr);
  EXPECT_EQ(table.live(), 0u);
  EXPECT_TRUE(table.allocate(kj::arrayPtr(batch, 9)) == nullptr);
  EXPECT_EQ(table.live(), 9u);
}

TEST(SlotTable, CountersAreCountedAgainstTheBudget) {
  SmallGroups growth(1 << 20);
  auto budget = shm::MemoryBudget::create("--memory-limit", 300 << 10);
  SlotTable table(kj::atomicAddRef(*budget), growth, 0);
  auto numbers = kj::heapArray<uint64_t>(1 << 16);
  EXPECT_TRUE(table.allocate(numbers) == nullptr);
  EXPECT_EQ(budget->used(), table.privateBytes());
  uint64_t one;
  KJ_IF_MAYBE (shortage, table.allocate(kj::arrayPtr(&one, 1))) {
    EXPECT_STREQ(shortage->budget.cStr(), "--memory-limit");
  } else {
    FAIL() << "allocated beyond the budget";
  }
}

}  // namespace
}  // namespace ledger
