// SPDX-License-Identifier: Apache-2.0
#include "ledger/give-way.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace ledger {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto LONG = 1h;  // Longer than a test may take.

TEST(SetsInProgress, NobodyWaitsWhereThereAreNone) {
  SetsInProgress sets;
  sets.awaitNone(LONG);
  { SetsInProgress::One set(sets); }
  sets.awaitNone(LONG);
}

// Until the last of them has ended, and no longer.
TEST(SetsInProgress, TheEndOfTheLastIsWaitedFor) {
  SetsInProgress sets;
  auto first = std::make_unique<SetsInProgress::One>(sets);
  auto second = std::make_unique<SetsInProgress::One>(sets);
  std::atomic<bool> ended = false;
  std::thread waiting([&]() {
    sets.awaitNone(LONG);
    EXPECT_TRUE(ended);
  });
  first = nullptr;
  sets.awaitNone(20ms);  // In vain: time for the other thread to return too early.
  ended = true;
  second = nullptr;
  waiting.join();
}

// Sets without end slow the work down, as far as it is said, and do not stop it.
TEST(GiveWay, GoesOnBesideSetsWithoutEnd) {
  SetsInProgress sets;
  SetsInProgress::One endless(sets);
  GiveWay giveWay(sets);
  for (int piece = 0; piece < 3; ++piece) {
    std::this_thread::sleep_for(2ms);
    const auto end = Clock::now();
    giveWay.afterPiece();
    EXPECT_GE(Clock::now() - end, GiveWay::PATIENCE * 2ms);
  }
}

}  // namespace
}  // namespace ledger
