// SPDX-License-Identifier: Apache-2.0
#include "shm/memory-budget.h"

#include <kj/debug.h>
#include <kj/thread.h>
#include <kj/vector.h>

#include <gtest/gtest.h>

#include <limits>

namespace shm {
namespace {

Reservation granted(kj::OneOf<Reservation, Shortage> answer) {
  EXPECT_TRUE(answer.is<Reservation>());
  return answer.is<Reservation>() ? kj::mv(answer.get<Reservation>()) : Reservation();
}

// Catches an off-by-one at the limit and a refusal that still counts.
TEST(MemoryBudget, GrantsUpToItsLimitAndNotOneByteMore) {
  auto budget = MemoryBudget::create("--memory-limit", 100);
  auto most = granted(budget->reserve(99));
  auto last = granted(budget->reserve(1));
  EXPECT_EQ(budget->used(), 100u);

  auto refused = budget->reserve(1);
  ASSERT_TRUE(refused.is<Shortage>());
  EXPECT_EQ(budget->used(), 100u);
  EXPECT_EQ(refused.get<Shortage>().free, 0u);

  EXPECT_EQ(granted(budget->reserve(0)).size(), 0u);
}

// Catches used + bytes wrapping around to a small number.
TEST(MemoryBudget, RefusesSizesThatWouldOverflowTheSum) {
  constexpr uint64_t MOST = std::numeric_limits<uint64_t>::max();
  auto budget = MemoryBudget::create("b", MOST - 1);
  auto held = granted(budget->reserve(10));
  EXPECT_TRUE(budget->reserve(MOST).is<Shortage>());
  EXPECT_TRUE(budget->reserve(MOST - 9).is<Shortage>());
  EXPECT_EQ(granted(budget->reserve(MOST - 11)).size(), MOST - 11);
}

// Catches figures or names of the wrong budget in an error that an operator acts on.
TEST(MemoryBudget, SaysWhichBudgetWasShortWithItsFigures) {
  auto all = MemoryBudget::create("--memory-limit", 100);
  auto shared = MemoryBudget::createUnder(*all, "--shared-memory-limit", 80);
  auto session = MemoryBudget::createUnder(*shared, "--arena-size", 50);
  auto other = granted(all->reserve(60));
  auto held = granted(session->reserve(10));

  auto own = session->reserve(41);
  ASSERT_TRUE(own.is<Shortage>());
  EXPECT_EQ(own.get<Shortage>().describe(), "needs 41 bytes, 40 of 50 free (--arena-size)");

  auto above = session->reserve(40);
  ASSERT_TRUE(above.is<Shortage>());
  EXPECT_EQ(above.get<Shortage>().describe(), "needs 40 bytes, 30 of 100 free (--memory-limit)");
}

// Catches a level that stays counted after a budget above it refused.
TEST(MemoryBudget, CountsNothingAnywhereWhenAnyLevelRefuses) {
  auto all = MemoryBudget::create("all", 10);
  auto middle = MemoryBudget::createUnder(*all, "middle", 20);
  auto leaf = MemoryBudget::createUnder(*middle, "leaf", 30);
  EXPECT_TRUE(leaf->reserve(11).is<Shortage>());
  EXPECT_EQ(leaf->used() + middle->used() + all->used(), 0u);

  auto held = granted(leaf->reserve(10));
  EXPECT_EQ(leaf->used(), 10u);
  EXPECT_EQ(middle->used(), 10u);
  EXPECT_EQ(all->used(), 10u);
}

// Catches bytes given back twice, or never, when a reservation moves.
TEST(Reservation, GivesEachByteBackOnce) {
  auto budget = MemoryBudget::create("b", 100);
  {
    auto first = granted(budget->reserve(30));
    Reservation second(kj::mv(first));
    EXPECT_EQ(first.size(), 0u);
    EXPECT_EQ(second.size(), 30u);

    Reservation third = granted(budget->reserve(20));
    third = kj::mv(second);  // Gives its 20 back, takes the 30.
    EXPECT_EQ(budget->used(), 30u);

    Reservation& same = third;
    third = kj::mv(same);
    EXPECT_EQ(third.size(), 30u);

    third.release(12);
    EXPECT_EQ(third.size(), 18u);
    EXPECT_EQ(budget->used(), 18u);
    EXPECT_THROW(third.release(19), kj::Exception);
    EXPECT_EQ(budget->used(), 18u);
  }
  EXPECT_EQ(budget->used(), 0u);
}

// Catches a merge that loses or doubles the other's bytes, or mixes budgets.
TEST(Reservation, MergesWithinOneBudgetOnly) {
  auto budget = MemoryBudget::create("b", 100);
  auto stranger = MemoryBudget::create("c", 100);
  {
    Reservation sum;
    sum.merge(Reservation());
    sum.merge(granted(budget->reserve(10)));
    sum.merge(granted(budget->reserve(5)));
    EXPECT_EQ(sum.size(), 15u);
    EXPECT_EQ(budget->used(), 15u);
    EXPECT_THROW(sum.merge(granted(stranger->reserve(1))), kj::Exception);
    EXPECT_EQ(sum.size(), 15u);
  }
  EXPECT_EQ(budget->used(), 0u);
  EXPECT_EQ(stranger->used(), 0u);
}

// Catches a parent that dies before a reservation below it.
TEST(Reservation, KeepsTheBudgetsAboveAlive) {
  Reservation held;
  {
    auto all = MemoryBudget::create("all", 10);
    held = granted(MemoryBudget::createUnder(*all, "leaf", 10)->reserve(3));
  }
  EXPECT_EQ(held.size(), 3u);
}

// Catches a check and an addition that are two steps: together the threads would pass the limit.
TEST(MemoryBudget, NeverExceedsItsLimitUnderContention) {
  auto all = MemoryBudget::create("all", 64);
  auto leaf = MemoryBudget::createUnder(*all, "leaf", 1000);
  std::atomic<bool> exceeded{false};
  {
    kj::Vector<kj::Own<kj::Thread>> threads;
    for (unsigned i = 0; i < 4; ++i) {
      threads.add(kj::heap<kj::Thread>([&] {
        for (unsigned round = 0; round < 20000; ++round) {
          auto answer = leaf->reserve(round % 40);
          if (all->used() > 64) exceeded = true;
        }
      }));
    }
  }
  EXPECT_FALSE(exceeded);
  EXPECT_EQ(all->used(), 0u);
  EXPECT_EQ(leaf->used(), 0u);
}

}  // namespace
}  // namespace shm
