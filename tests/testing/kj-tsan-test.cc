// SPDX-License-Identifier: Apache-2.0
// Under --config=tsan: KJ's locks order what they should, as far as tsan can see. Elsewhere these
// are plain tests of the same programs.

#include <kj/mutex.h>
#include <kj/refcount.h>
#include <kj/thread.h>

#include <gtest/gtest.h>

namespace {

// Would fail under tsan ("data race on counts") if lock() and unlock() were not seen.
TEST(KjUnderTsan, MutexGuardedOrdersItsUsers) {
  kj::MutexGuarded<uint64_t> count(0);
  {
    kj::Thread one([&count]() {
      for (int i = 0; i < 1000; ++i) ++*count.lockExclusive();
    });
    for (int i = 0; i < 1000; ++i) ++*count.lockExclusive();
  }
  EXPECT_EQ(*count.lockShared(), 2000u);
}

// when() may run the predicate on the thread that unlocks.
TEST(KjUnderTsan, WaitingOrdersBothSides) {
  struct Baton {
    int turns = 0;
    int passed = 0;  // Written by one thread, read by the other, under the lock only.
  };
  kj::MutexGuarded<Baton> baton;
  {
    kj::Thread other([&baton]() {
      for (int i = 0; i < 200; ++i) {
        baton.when([i](const Baton& b) { return b.turns == 2 * i + 1; },
                   [](Baton& b) { ++b.turns, ++b.passed; });
      }
    });
    for (int i = 0; i < 200; ++i) {
      baton.when([i](const Baton& b) { return b.turns == 2 * i; },
                 [](Baton& b) { ++b.turns, ++b.passed; });
    }
  }
  EXPECT_EQ(baton.lockShared()->passed, 400);
}

TEST(KjUnderTsan, LazyPublishesItsValue) {
  for (int round = 0; round < 50; ++round) {
    kj::Lazy<int> lazy;
    auto get = [&lazy]() {
      return lazy.get([](kj::SpaceFor<int>& space) { return space.construct(42); });
    };
    int seen = 0;
    {
      kj::Thread other([&]() { seen = get(); });
      EXPECT_EQ(get(), 42);
    }
    EXPECT_EQ(seen, 42);
  }
}

// The thread that drops the last reference sees what the others wrote before they dropped theirs.
TEST(KjUnderTsan, LastReferenceComesAfterAllOthers) {
  class Shared final : public kj::AtomicRefcounted {
  public:
    explicit Shared(int& sum) : sum(sum) {}
    ~Shared() noexcept(false) { sum = slots[0] + slots[1]; }
    mutable int slots[2] = {};

  private:
    int& sum;
  };
  int sum = 0;
  {
    kj::Own<const Shared> first = kj::atomicRefcounted<Shared>(sum);
    auto second = kj::atomicAddRef(*first);
    kj::Thread other([second = kj::mv(second)]() mutable {
      second->slots[1] = 2;
      second = nullptr;
    });
    first->slots[0] = 1;
    first = nullptr;
  }
  EXPECT_EQ(sum, 3);
}

}  // namespace
