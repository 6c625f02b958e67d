// SPDX-License-Identifier: Apache-2.0
#include "ledger/thread-pool.h"

#include "tests/testing/await.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace ledger {
namespace {

// A thing done twice or not at all would be a node hashed twice or not at all.
TEST(ThreadPool, DoesEachThingOnce) {
  for (unsigned threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    for (size_t count : {0u, 1u, 2u, 7u, 1000u}) {
      for (size_t size : {1u, 3u, 2000u}) {
        std::vector<std::atomic<int>> done(count);
        pool.forEach(count, size, [&](size_t begin, size_t end) {
          EXPECT_LT(begin, end);
          EXPECT_LE(end - begin, size);
          for (size_t i = begin; i < end; ++i) ++done[i];
        });
        for (auto& each : done) EXPECT_EQ(each, 1);
      }
    }
  }
}

TEST(ThreadPool, HelpersTakePart) {
  ThreadPool pool(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  std::atomic<unsigned> arrived = 0;
  // Each of the three pieces waits for the others, so one thread alone would never end.
  pool.forEach(3, 1, [&](size_t, size_t) {
    {
      std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    ++arrived;
    testing::await("the other pieces", [&]() { return arrived == 3; });
  });
  EXPECT_EQ(seen.size(), 3u);
}

// Callers only wait for pieces that have begun: with the helper held up in one call, another call
// still ends.
TEST(ThreadPool, ACallEndsWhileTheHelpersAreBusy) {
  ThreadPool pool(2);
  std::atomic<unsigned> held = 0;
  std::atomic<bool> letGo = false;
  std::thread other([&]() {
    pool.forEach(2, 1, [&](size_t, size_t) {
      ++held;
      testing::await("leave to go on", [&]() { return letGo.load(); });
    });
  });
  testing::await("both pieces", [&]() { return held == 2; });
  std::atomic<unsigned> done = 0;
  pool.forEach(10, 1, [&](size_t begin, size_t end) { done += end - begin; });
  EXPECT_EQ(done, 10u);
  letGo = true;
  other.join();
}

TEST(ThreadPool, ManyCallersShareIt) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<size_t> sum = 0;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&]() {
      for (int round = 0; round < 200; ++round) {
        pool.forEach(17, 2, [&](size_t begin, size_t end) { sum += end - begin; });
      }
    });
  }
  for (auto& caller : callers) caller.join();
  EXPECT_EQ(sum, 4u * 200 * 17);
}

TEST(ThreadPool, AnExceptionComesOutAndThePoolLivesOn) {
  ThreadPool pool(3);
  EXPECT_ANY_THROW(pool.forEach(100, 1, [&](size_t begin, size_t) {
    if (begin == 41) KJ_FAIL_REQUIRE("the test's own failure");
  }));
  std::atomic<size_t> done = 0;
  pool.forEach(100, 1, [&](size_t, size_t) { ++done; });
  EXPECT_EQ(done, 100u);
}

}  // namespace
}  // namespace ledger
