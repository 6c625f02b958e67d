// SPDX-License-Identifier: Apache-2.0
#include "server/workers.h"

#include "tests/testing/await.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include <atomic>

#include <unistd.h>

namespace ledger::server {
namespace {

// A gate that worker functions wait at, so that a test decides when they go on.
class Gate {
public:
  void open() const { *opened.lockExclusive() = true; }
  void pass() const {
    ledger::testing::await("the gate", opened, [](bool value) { return value; });
  }

private:
  kj::MutexGuarded<bool> opened{false};
};

// Waits in the test's thread until a worker has brought the count to `value`.
class Count {
public:
  void add() const { ++*count.lockExclusive(); }
  void await(int value) const {
    ledger::testing::await("the workers", count, [value](int now) { return now >= value; });
  }
  int now() const { return *count.lockShared(); }

private:
  kj::MutexGuarded<int> count{0};
};

struct WorkersTest : public ::testing::Test {
  ~WorkersTest() noexcept override {}

  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};
};

TEST_F(WorkersTest, AResultComesBack) {
  Workers workers(2, 10);
  auto promise = KJ_ASSERT_NONNULL(workers.run([](const Stop&) { return kj::str("hello"); }));
  EXPECT_EQ(promise.wait(waitScope), "hello");
}

TEST_F(WorkersTest, AnExceptionComesBack) {
  Workers workers(1, 10);
  auto promise =
      KJ_ASSERT_NONNULL(workers.run([](const Stop&) -> int { KJ_FAIL_REQUIRE("broken", 42); }));
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { promise.wait(waitScope); })) {
    EXPECT_NE(strstr(exception->getDescription().cStr(), "broken"), nullptr);
  } else {
    FAIL() << "the exception was lost";
  }
  // The thread survived it.
  EXPECT_EQ(KJ_ASSERT_NONNULL(workers.run([](const Stop&) { return 1; })).wait(waitScope), 1);
}

// Would catch a result given to the wrong call, or one lost, when many are under way.
TEST_F(WorkersTest, ManyInFlightEachGetTheirOwnResult) {
  Workers workers(4, 1000);
  kj::Vector<kj::Promise<uint64_t>> promises;
  for (uint64_t index = 0; index < 1000; ++index) {
    promises.add(KJ_ASSERT_NONNULL(workers.run([index](const Stop&) { return index * index; })));
  }
  for (uint64_t index = 0; index < 1000; ++index) {
    EXPECT_EQ(promises[index].wait(waitScope), index * index);
  }
}

TEST_F(WorkersTest, DroppingThePromiseStopsTheFunction) {
  Workers workers(1, 10);
  Gate gate;
  Count before, after;
  std::atomic<bool> stopped{false};
  {
    auto promise = KJ_ASSERT_NONNULL(workers.run([&](const Stop& stop) {
      EXPECT_FALSE(stop.requested());
      before.add();
      gate.pass();
      stopped = stop.requested();
      after.add();
      return 0;
    }));
    before.await(1);
  }
  gate.open();
  after.await(1);
  EXPECT_TRUE(stopped);
}

// A client that sends calls and drops them must not keep the threads busy.
TEST_F(WorkersTest, ADroppedTaskInTheQueueIsNotCalled) {
  Gate gate;
  Count started;
  std::atomic<bool> called{false};
  {
    Workers workers(1, 10);
    auto first = KJ_ASSERT_NONNULL(workers.run([&](const Stop&) {
      started.add();
      gate.pass();
      return 0;
    }));
    started.await(1);
    KJ_ASSERT_NONNULL(workers.run([&](const Stop&) {
      called = true;
      return 0;
    }));
    gate.open();
    first.wait(waitScope);
  }
  EXPECT_FALSE(called);
}

TEST_F(WorkersTest, AFullQueueRefuses) {
  Workers workers(1, 2);
  Gate gate;
  Count started;
  auto blocked = [&](const Stop&) {
    started.add();
    gate.pass();
    return 7;
  };
  auto running = KJ_ASSERT_NONNULL(workers.run(blocked));
  started.await(1);
  auto second = KJ_ASSERT_NONNULL(workers.run(blocked));
  auto third = KJ_ASSERT_NONNULL(workers.run(blocked));
  EXPECT_EQ(workers.queued(), 2u);
  EXPECT_TRUE(workers.run(blocked) == nullptr);
  gate.open();
  EXPECT_EQ(running.wait(waitScope) + second.wait(waitScope) + third.wait(waitScope), 21);
}

// For a thread without an event loop; would catch a task that is lost, or called where it was
// handed in.
TEST_F(WorkersTest, APostedTaskIsCalledOnAWorker) {
  Workers workers(1, 1);
  Gate gate;
  Count called;
  const pid_t here = gettid();
  ASSERT_TRUE(workers.post([&]() {
    EXPECT_NE(gettid(), here);
    called.add();
    gate.pass();
  }));
  called.await(1);
  ASSERT_TRUE(workers.post([&]() { called.add(); }));
  EXPECT_FALSE(workers.post([&]() { called.add(); })) << "the queue has room for one";
  gate.open();
  called.await(2);
}

// Sets that were accepted are finished at shutdown; their promises must not be left hanging.
TEST_F(WorkersTest, TheDestructorRunsWhatWasAccepted) {
  kj::Vector<kj::Promise<int>> promises;
  {
    Workers workers(2, 100);
    for (int index = 0; index < 100; ++index) {
      promises.add(KJ_ASSERT_NONNULL(workers.run([index](const Stop&) { return index; })));
    }
  }
  for (int index = 0; index < 100; ++index) EXPECT_EQ(promises[index].wait(waitScope), index);
}

// What a function holds (a region that is being written) must be gone when it has ended, dropped or
// not, and be destroyed once.
TEST_F(WorkersTest, WhatAFunctionHoldsIsDestroyedOnce) {
  struct Held {
    explicit Held(const Count& count) : count(&count) {}
    Held(Held&& other) noexcept : count(other.count) { other.count = nullptr; }
    ~Held() {
      if (count != nullptr) count->add();
    }
    const Count* count;
  };
  Count destroyed;
  {
    Workers workers(1, 100);
    for (int index = 0; index < 10; ++index) {
      auto promise = KJ_ASSERT_NONNULL(
          workers.run([held = Held(destroyed)](const Stop&) { return held.count != nullptr; }));
      if (index % 2 == 0) {
        EXPECT_TRUE(promise.wait(waitScope));
      }
    }
  }
  EXPECT_EQ(destroyed.now(), 10);
}

// Loops of several threads share the pool; each gets its results on its own thread.
TEST_F(WorkersTest, SeveralLoopsShareThePool) {
  Workers workers(2, 1000);
  kj::Vector<kj::Own<kj::Thread>> threads;
  std::atomic<int> sum{0};
  for (int thread = 0; thread < 4; ++thread) {
    threads.add(kj::heap<kj::Thread>([&workers, &sum]() {
      kj::EventLoop loop;
      kj::WaitScope waitScope(loop);
      for (int index = 0; index < 100; ++index) {
        sum += KJ_ASSERT_NONNULL(workers.run([](const Stop&) { return 1; })).wait(waitScope);
      }
    }));
  }
  threads.clear();
  EXPECT_EQ(sum, 400);
}

}  // namespace
}  // namespace ledger::server
