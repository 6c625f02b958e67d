// SPDX-License-Identifier: Apache-2.0
// Checkpoints of a running ledger: when, of what, what goes afterwards, and what a failure leaves.
#include "ledger/checkpointer.h"

#include "ledger/checkpoint/names.h"
#include "ledger/encoding.h"
#include "ledger/give-way.h"
#include "ledger/ledger.h"
#include "tests/testing/await.h"
#include "tests/testing/kept-warnings.h"
#include "tests/testing/scratch-folder.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/thread.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace ledger {
namespace {

using testing::ScratchFolder;
using testing::segmentsOf;
using Superfluous = CheckpointPolicy::Superfluous;

class StopAtOnce final : public Stop {
public:
  bool requested() const override { return true; }
};

// Segments of one page: a Set of this many bytes fills most of one.
constexpr size_t BIG = 20000;

class CheckpointerTest : public ::testing::Test {
public:
  ~CheckpointerTest() noexcept override {}

protected:
  void open(CheckpointPolicy policy, uint32_t capacity = 10) {
    ledger = nullptr;
    LedgerOptions options{.reporter = notes};
    options.forestCapacity = capacity;
    options.walSegmentSize = 32768;
    options.checkpoints = kj::mv(policy);
    // What the machine's disk has is no part of these tests.
    if (options.checkpoints.diskReserve == CheckpointPolicy().diskReserve) {
      options.checkpoints.diskReserve = 0;
    }
    auto path = filesystem->getCurrentPath().evalNative(scratch.path().c_str());
    ledger = Ledger::open(filesystem->getRoot().openSubdir(path, kj::WriteMode::MODIFY),
                          scratch.path().c_str(),
                          shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 30),
                          kj::mv(options));
  }

  RootHash set(const RootHash& state, unsigned number, size_t size = BIG,
               const Stop& stop = Stop::never()) {
    auto name = kj::str("register ", number);
    KeyPart part{2, name.asBytes()};
    auto encoded = encodeKey(kj::arrayPtr(&part, 1));
    EncodedKey key = encoded.get<kj::Array<kj::byte>>();
    auto bytes = kj::heapArray<kj::byte>(size);
    memset(bytes.begin(), int(number), size);
    Value value = bytes;
    auto result =
        ledger->set(state, kj::arrayPtr(&key, 1), kj::arrayPtr(&value, 1), nullptr, stop);
    KJ_REQUIRE(result.is<RootHash>(), result.get<Error>().message);
    awaitIdle();
    return result.get<RootHash>();
  }

  // So that the cadence is certain: one that is due while another is written is put off.
  void awaitIdle() {
    testing::await("the checkpoint's end",
                   [&]() { return ledger->stats().checkpoints.running == nullptr; });
  }

  uint64_t mustCheckpoint() {
    auto result = ledger->checkpoint(Stop::never());
    KJ_REQUIRE(result.is<uint64_t>(), result.get<Error>().message);
    return result.get<uint64_t>();
  }

  std::vector<uint64_t> checkpoints() {
    auto path = filesystem->getCurrentPath().evalNative(scratch.path().c_str());
    auto numbers = listCheckpoints(*filesystem->getRoot().openSubdir(path));
    return {numbers.begin(), numbers.end()};
  }

  // Names that are neither segments nor of a checkpoint in the list, nor the lock.
  std::vector<std::string> leftOvers() {
    std::vector<std::string> result;
    auto complete = checkpoints();
    for (auto& name : testing::filesOf(scratch.path())) {
      if (name == ".lock" || name.find_first_not_of("0123456789") == name.npos) continue;
      bool known = false;
      for (auto number : complete) {
        known |= name.starts_with(checkpointName(number).cStr());
      }
      if (!known) result.push_back(name);
    }
    return result;
  }

  kj::Own<kj::Filesystem> filesystem = kj::newDiskFilesystem();
  ScratchFolder scratch;
  testing::KeptWarnings notes;
  kj::Own<Ledger> ledger;
};

using Numbers = std::vector<uint64_t>;

// spec/checkpoint-v6.md 8: with distance 2 from an empty directory 1, 3, 5, 7.
TEST_F(CheckpointerTest, KeepsFlowGosCadenceAndTheLastOnes) {
  open({.distance = 2, .keep = 0});
  auto state = ledger->initialState();
  for (unsigned i = 0; i < 9; ++i) state = set(state, i);  // A segment each: 0 to 8.
  EXPECT_EQ(checkpoints(), (Numbers{1, 3, 5, 7}));
  open({.distance = 2, .keep = 2});  // The start makes segment 9; the next is due with it.
  for (unsigned i = 9; i < 12; ++i) state = set(state, i);
  EXPECT_EQ(checkpoints(), (Numbers{7, 9}));
  EXPECT_EQ(leftOvers(), std::vector<std::string>{});
  EXPECT_EQ(notes.take(), std::vector<std::string>{});
}

TEST_F(CheckpointerTest, ARestartBeginsAtTheCheckpoint) {
  open({.distance = 1});
  auto state = ledger->initialState();
  for (unsigned i = 0; i < 15; ++i) state = set(state, i);
  auto before = ledger->states();
  // What is before the newest checkpoint is not needed any more.
  ledger = nullptr;
  auto newest = checkpoints().back();
  for (auto& name : segmentsOf(scratch.path())) {
    if (std::stoull(name) <= newest) unlink((scratch / name).c_str());
  }
  open({.distance = 1});
  EXPECT_TRUE(ledger->states().asPtr() == before.asPtr());
  set(state, 99);
}

TEST_F(CheckpointerTest, OnDemandHoldsWhatWasAcknowledged) {
  open({});
  auto state = set(ledger->initialState(), 1, 100);
  EXPECT_EQ(mustCheckpoint(), 0u);
  EXPECT_EQ(mustCheckpoint(), 0u);  // Nothing new.
  state = set(state, 2, 100);
  EXPECT_EQ(mustCheckpoint(), 1u);
  state = set(state, 3, 100);
  auto before = ledger->states();
  open({});
  EXPECT_TRUE(ledger->states().asPtr() == before.asPtr());
  // Segment 2 has the last Set, 3 is new and empty.
  EXPECT_EQ(mustCheckpoint(), 2u);
  EXPECT_EQ(segmentsOf(scratch.path()).size(), 4u);
  EXPECT_EQ(checkpoints(), (Numbers{0, 1, 2}));
}

TEST_F(CheckpointerTest, OnDemandInAnEmptyLedgerIsPossible) {
  open({});
  EXPECT_EQ(mustCheckpoint(), 0u);
  open({});
  EXPECT_TRUE(ledger->hasState(ledger->initialState()));
}

TEST_F(CheckpointerTest, SegmentsThatNoCheckpointNeedsGoIfAskedTo) {
  open({.distance = 1, .keep = 2, .superfluous = Superfluous::REMOVE});
  auto state = ledger->initialState();
  for (unsigned i = 0; i < 8; ++i) state = set(state, i);
  auto kept = checkpoints();
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(std::stoull(segmentsOf(scratch.path()).front()), kept.front() + 1);
  auto before = ledger->states();
  open({.distance = 1});
  EXPECT_TRUE(ledger->states().asPtr() == before.asPtr());
}

TEST_F(CheckpointerTest, IsNotBegunWithoutRoom) {
  std::atomic<uint64_t> room = 1000;
  open({.diskReserve = 5000, .freeSpace = [&](const kj::Directory&) -> kj::Maybe<uint64_t> {
          return uint64_t(room);
        }});
  set(ledger->initialState(), 1, 100);
  auto refused = ledger->checkpoint(Stop::never());
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::RESOURCE_EXHAUSTED);
  EXPECT_NE(std::string(refused.get<Error>().message.cStr()).find("--disk-reserve"),
            std::string::npos);
  EXPECT_EQ(checkpoints(), Numbers{});
  EXPECT_EQ(leftOvers(), std::vector<std::string>{});
  EXPECT_EQ(notes.take().size(), 1u);
  EXPECT_GT(ledger->stats().checkpoints.failure.size(), 0u);
  room = uint64_t(1) << 40;
  mustCheckpoint();
  EXPECT_EQ(ledger->stats().checkpoints.failure.size(), 0u);
}

// Others fill the disk while it is written: given up, and removed.
TEST_F(CheckpointerTest, IsGivenUpWhenTheReserveIsTouched) {
  std::atomic<int> looks = 0;
  open({.threads = 1, .diskReserve = 5000,
        .freeSpace = [&](const kj::Directory&) -> kj::Maybe<uint64_t> {
          return ++looks == 1 ? uint64_t(1) << 40 : uint64_t(1000);
        }});
  set(ledger->initialState(), 1, 100);
  auto refused = ledger->checkpoint(Stop::never());
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::RESOURCE_EXHAUSTED);
  EXPECT_GT(looks.load(), 1);
  EXPECT_EQ(checkpoints(), Numbers{});
  EXPECT_EQ(leftOvers(), std::vector<std::string>{});
}

// Beside a Set that is in progress, what writes waits after each piece: in vain here, and goes on.
TEST_F(CheckpointerTest, GivesWayToSets) {
  using Clock = std::chrono::steady_clock;
  constexpr auto PIECE = std::chrono::milliseconds(10);
  // Asked once before anything is written, then during each piece.
  std::atomic<int> looks = 0;
  kj::MutexGuarded<bool> isInProgress(false), mayEnd(false);
  Clock::time_point pieceEnd;
  Clock::duration pause{};
  open({.threads = 1, .freeSpace = [&](const kj::Directory&) -> kj::Maybe<uint64_t> {
          ++looks;
          if (looks == 2) {
            testing::await("a Set in progress", isInProgress, [](bool value) { return value; });
            std::this_thread::sleep_for(PIECE);
            pieceEnd = Clock::now();
          } else if (looks == 3) {
            pause = Clock::now() - pieceEnd;
            *mayEnd.lockExclusive() = true;
          }
          return uint64_t(1) << 40;
        }});
  const auto state = set(ledger->initialState(), 1, 100);

  // Holds its Set up where it looks whether it is still wanted.
  class Holding final : public Stop {
  public:
    Holding(const kj::MutexGuarded<bool>& reached, const kj::MutexGuarded<bool>& mayEnd)
        : reached(reached), mayEnd(mayEnd) {}
    bool requested() const override {
      *reached.lockExclusive() = true;
      testing::await("the checkpoint's next piece", mayEnd, [](bool value) { return value; });
      return false;
    }

  private:
    const kj::MutexGuarded<bool>& reached;
    const kj::MutexGuarded<bool>& mayEnd;
  };
  Holding held(isInProgress, mayEnd);
  kj::Thread setting([&]() {
    testing::await("the checkpoint", [&]() { return looks >= 2; });
    set(state, 2, 100, held);
  });
  mustCheckpoint();
  EXPECT_GE(looks.load(), 3);
  EXPECT_GE(pause, GiveWay::PATIENCE * PIECE);
}

// A failed one is tried again when the next segment ends.
TEST_F(CheckpointerTest, AFailureIsMadeUpForAtTheNextSegment) {
  std::atomic<uint64_t> room = 0;
  open({.distance = 2, .freeSpace = [&](const kj::Directory&) -> kj::Maybe<uint64_t> {
          return uint64_t(room);
        }});
  auto state = ledger->initialState();
  for (unsigned i = 0; i < 3; ++i) state = set(state, i);
  EXPECT_EQ(checkpoints(), Numbers{});
  room = uint64_t(1) << 40;
  state = set(state, 3);
  EXPECT_EQ(checkpoints(), Numbers{2});
}

// A shutdown does not wait for a long checkpoint, and what waits for it is told.
TEST_F(CheckpointerTest, GivingItUpLeavesNothing) {
  std::atomic<int> looks = 0;
  kj::MutexGuarded<bool> go(false);
  open({.threads = 1, .freeSpace = [&](const kj::Directory&) -> kj::Maybe<uint64_t> {
          // The second look is in the middle of the writing.
          if (++looks == 2) testing::await("leave", go, [](bool may) { return may; });
          return uint64_t(1) << 40;
        }});
  set(ledger->initialState(), 1, 100);
  auto waited = ledger->checkpoint(StopAtOnce());
  ASSERT_TRUE(waited.is<Error>());
  EXPECT_EQ(waited.get<Error>().code, Code::CANCELLED);
  {
    kj::Thread waiter([&]() {
      auto told = ledger->checkpoint(Stop::never());
      EXPECT_TRUE(told.is<Error>() && told.get<Error>().reason == Reason::SHUTTING_DOWN);
    });
    testing::await("the checkpoint", [&]() { return looks >= 2; });
    ledger->giveUpCheckpoint();
    *go.lockExclusive() = true;
  }
  ledger = nullptr;
  EXPECT_EQ(checkpoints(), Numbers{});
  EXPECT_EQ(leftOvers(), std::vector<std::string>{});
  open({});
  EXPECT_EQ(ledger->stateCount(), 2u);
}

// A disk that returns other bytes than were written: the new one goes, and nothing old does.
TEST_F(CheckpointerTest, WhatDoesNotReadBackIsRemovedAndNothingElse) {
  open({.keep = 1, .superfluous = Superfluous::REMOVE});
  auto state = set(ledger->initialState(), 1, 100);
  EXPECT_EQ(mustCheckpoint(), 0u);
  state = set(state, 2, 100);
  const auto segments = segmentsOf(scratch.path());
  notes.onInfo = [this](const std::string& text) {
    if (text.find("checkpoint 1: written") != 0) return;
    FILE* file = fopen((scratch / "checkpoint.00000001.016").c_str(), "r+");
    ASSERT_NE(file, nullptr);
    fseek(file, 30, SEEK_SET);
    fputc(0x55, file);
    fclose(file);
  };
  auto refused = ledger->checkpoint(Stop::never());
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::DATA_LOSS);
  EXPECT_EQ(checkpoints(), Numbers{0});
  EXPECT_EQ(leftOvers(), std::vector<std::string>{});
  EXPECT_EQ(segmentsOf(scratch.path()).front(), segments.front());
  notes.onInfo = [](const std::string&) {};
  open({.keep = 1});
  EXPECT_TRUE(ledger->hasState(state));
}

// One that did not load is not the newest, nor one of those that are kept.
TEST_F(CheckpointerTest, OneThatDoesNotLoadCountsForNothing) {
  open({});
  auto state = set(ledger->initialState(), 1, 100);
  EXPECT_EQ(mustCheckpoint(), 0u);
  state = set(state, 2, 100);
  EXPECT_EQ(mustCheckpoint(), 1u);
  ledger = nullptr;
  ASSERT_EQ(truncate((scratch / "checkpoint.00000001.016").c_str(), 10), 0);
  open({.keep = 2});
  EXPECT_EQ(ledger->stats().checkpoints.newest.orDefault(99), 0u);
  auto number = mustCheckpoint();
  EXPECT_GT(number, 1u);
  EXPECT_EQ(checkpoints(), (Numbers{0, 1, number})) << "two good ones are kept";
  state = set(state, 3, 100);
  auto next = mustCheckpoint();
  EXPECT_EQ(checkpoints(), (Numbers{number, next}));
}

// What an interrupted one left is gone after the start, and the log is whole.
TEST_F(CheckpointerTest, AStartRemovesWhatAnInterruptedOneLeft) {
  open({});
  set(ledger->initialState(), 1, 100);
  ledger = nullptr;
  for (auto name : {"writing-checkpoint.00000000.003-77", "checkpoint.00000000.003"}) {
    FILE* file = fopen((scratch / name).c_str(), "w");
    ASSERT_NE(file, nullptr);
    fclose(file);
  }
  open({});
  EXPECT_EQ(leftOvers(), std::vector<std::string>{});
  EXPECT_EQ(ledger->stateCount(), 2u);
  EXPECT_EQ(mustCheckpoint(), 0u);
}

// flow-go puts the trie of each Set into its queue, also one that makes a state which is there.
TEST_F(CheckpointerTest, RepeatedStatesAreInItTwice) {
  open({}, 3);
  auto first = set(ledger->initialState(), 1, 100);
  set(first, 1, 100);
  auto second = set(first, 2, 100);
  mustCheckpoint();
  EXPECT_EQ(ledger->stateCount(), 3u);
  open({}, 10);
  // The queue of three held first, first, second: the empty state had to go.
  EXPECT_TRUE(ledger->hasState(first));
  EXPECT_TRUE(ledger->hasState(second));
  EXPECT_EQ(ledger->stateCount(), 3u);  // The empty one is there at every start.
}

// flow-go does not start again here: its checkpoint lacks the state that the next Set updates.
TEST_F(CheckpointerTest, RepeatedStatesPushNoneOutThatTheForestHolds) {
  open({}, 3);
  auto first = set(ledger->initialState(), 1, 100);
  auto second = set(first, 2, 100);
  set(second, 3, 100);
  set(first, 2, 100);  // The second state again.
  EXPECT_EQ(mustCheckpoint(), 0u);
  set(first, 4, 100);
  auto states = ledger->states();
  open({}, 3);
  EXPECT_TRUE(ledger->states().asPtr() == states.asPtr());
}

}  // namespace
}  // namespace ledger
