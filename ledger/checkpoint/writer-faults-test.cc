// SPDX-License-Identifier: Apache-2.0
// What is left when writing a checkpoint fails, is stopped, or ends in a crash: at every step.
#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/writer-temporaries.h"
#include "ledger/checkpoint/writer-testing.h"
#include "ledger/checkpoint/writer.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

#include <string>

namespace ledger {
namespace {

using testing::asDirectory;
using testing::CheckpointParts;
using testing::FileBytes;
using testing::filesOf;
using testing::SimulatedDisk;

constexpr kj::StringPtr NAME = "checkpoint.00000007"_kj;
using Fault = SimulatedDisk::Fault;
constexpr Fault FAULTS[] = {Fault::ONE_STEP, Fault::ONE_STEP_LATE, Fault::ALL_FROM_A_STEP};

// The empty trie makes 18 files of a few bytes: each is one creation, some writes, a sync, a
// rename. What is in the files does not matter here.
class Faults : public ::testing::Test {
protected:
  Faults()
      : store(kj::atomicRefcounted<Store>(
            *shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 24),
            SegmentSizes{uint64_t(64) << 10, uint64_t(64) << 10, uint64_t(64) << 10})),
        trie(Trie::empty(kj::atomicAddRef(*store))),
        before(filesOf(CheckpointParts(), "checkpoint.00000003")),
        after(filesOf(CheckpointParts(), NAME)) {
    before["00000003"] = "log";
    before["writing-notes-1"] = "not ours";
    after.insert(before.begin(), before.end());
    SimulatedDisk disk(before);
    KJ_ASSERT(write(disk).is<WrittenCheckpoint>());
    KJ_ASSERT(disk.now() == after);
    steps = disk.stepsTaken();
  }

  ~Faults() noexcept override {}

  Result<WrittenCheckpoint> write(SimulatedDisk& disk, const Stop& stop = Stop::never()) {
    CheckpointWriteOptions options{.threads = 1, .stop = stop};
    return writeCheckpoint(*disk.directory(), NAME, kj::arrayPtr(&trie, 1), kj::mv(options));
  }

  kj::Maybe<kj::Exception> tryWrite(SimulatedDisk& disk) {
    return kj::runCatchingExceptions([&]() { write(disk); });
  }

  // A header means 17 good parts; without one, what is left can be cleared up, and nothing else
  // goes with it.
  bool isSafe(const FileBytes& left) {
    SimulatedDisk disk(left);
    removeInterruptedCheckpoints(*disk.directory());
    return disk.now() == (left.count(NAME.cStr()) > 0 ? after : before);
  }

  kj::Own<const Store> store;
  kj::Own<const Trie> trie;
  FileBytes before;
  FileBytes after;
  int steps = 0;
};

TEST_F(Faults, OneFaultLeavesNothing) {
  EXPECT_GT(steps, 18 * 4);
  for (auto fault : {Fault::ONE_STEP, Fault::ONE_STEP_LATE}) {
    for (int step = 0; step < steps; ++step) {
      SCOPED_TRACE(step);
      SimulatedDisk disk(before);
      disk.failAt(step, fault);
      auto failure = tryWrite(disk);
      ASSERT_TRUE(failure != nullptr);
      // A file that was made although its creation failed is unknown to the writer.
      if (disk.now() != before) {
        EXPECT_TRUE(fault == Fault::ONE_STEP_LATE && disk.now().size() == before.size() + 1);
        EXPECT_TRUE(isSafe(disk.now()));
      }
      disk.failAt(SimulatedDisk::NEVER, fault);
      removeInterruptedCheckpoints(*disk.directory());
      EXPECT_TRUE(tryWrite(disk) == nullptr);
      EXPECT_TRUE(disk.now() == after);
    }
  }
}

TEST_F(Faults, ADiskThatDiesIsNamedInTheError) {
  for (int step = 0; step < steps; ++step) {
    SCOPED_TRACE(step);
    SimulatedDisk disk(before);
    disk.failAt(step, Fault::ALL_FROM_A_STEP);
    auto failure = tryWrite(disk);
    KJ_IF_MAYBE (exception, failure) {
      std::string text = exception->getDescription().cStr();
      EXPECT_NE(text.find("injected fault"), text.npos);
      bool left = disk.now() != before;
      EXPECT_EQ(text.find("left behind") != text.npos, left) << text;
    } else {
      ADD_FAILURE() << "no exception";
    }
    EXPECT_TRUE(isSafe(disk.now()));
  }
}

// What is certain, all changes, and each single change survives, in turn, and each time the files
// have only the bytes that were synced.
TEST_F(Faults, ACrashAtAnyStepLeavesNoHeaderWithoutItsParts) {
  size_t cases = 0;
  for (int step = 0; step <= steps; ++step) {
    SCOPED_TRACE(step);
    SimulatedDisk disk(before);
    disk.crashAt(step);
    tryWrite(disk);
    for (auto& left : disk.afterCrash()) {
      EXPECT_TRUE(isSafe(left));
      ++cases;
    }
  }
  EXPECT_GT(cases, size_t(steps) * 3);
}

// The same while the writer takes back what it made.
TEST_F(Faults, ACrashAfterAFaultLeavesNoHeaderWithoutItsParts) {
  for (auto fault : {Fault::ONE_STEP, Fault::ONE_STEP_LATE}) {
    // Counted from the end: the header's sync, the directory's, the first of the 17 renames of
    // parts, one amid them, the last, the directory's sync, the header's rename, the last sync.
    for (int fromEnd : {22, 21, 20, 12, 4, 3, 2, 1}) {
      int failing = steps - fromEnd;
      for (int crash = failing + 1;; ++crash) {
        SCOPED_TRACE(::testing::Message() << failing << ", " << crash);
        SimulatedDisk disk(before);
        disk.failAt(failing, fault);
        disk.crashAt(crash);
        tryWrite(disk);
        for (auto& left : disk.afterCrash()) EXPECT_TRUE(isSafe(left));
        if (disk.stepsTaken() <= crash) break;
      }
    }
  }
}

// The tests above can fail: where syncs do nothing some crash leaves a header without its parts.
TEST_F(Faults, SyncsThatDoNothingAreNoticed) {
  for (auto lie : {SimulatedDisk::Sync::DIRECTORY_LIES, SimulatedDisk::Sync::FILES_LIE}) {
    bool noticed = false;
    for (int step = 0; step <= steps && !noticed; ++step) {
      SimulatedDisk disk(before);
      disk.lieAbout(lie);
      disk.crashAt(step);
      tryWrite(disk);
      for (auto& left : disk.afterCrash()) noticed = noticed || !isSafe(left);
    }
    EXPECT_TRUE(noticed);
  }
}

// Says stop at the n-th look.
class StopAtLook final : public Stop {
public:
  explicit StopAtLook(int look) : look(look) {}
  bool requested() const override { return looks++ >= look; }
  mutable int looks = 0;

private:
  const int look;
};

TEST_F(Faults, AStopLeavesNothing) {
  int look = 0;
  for (;; ++look) {
    SCOPED_TRACE(look);
    SimulatedDisk disk(before);
    StopAtLook stop(look);
    auto result = write(disk, stop);
    if (result.is<WrittenCheckpoint>()) {
      EXPECT_TRUE(disk.now() == after);
      break;
    }
    EXPECT_EQ(result.get<Error>().code, Code::CANCELLED);
    EXPECT_TRUE(disk.now() == before);
  }
  EXPECT_GT(look, 16);
}

TEST_F(Faults, AnExceptionFromTheCallersProgressLeavesNothing) {
  SimulatedDisk disk(before);
  CheckpointWriteOptions options;
  options.progress = [](uint64_t done, uint64_t) { KJ_REQUIRE(done < 300, "no room left"); };
  auto failure = kj::runCatchingExceptions(
      [&]() { writeCheckpoint(*disk.directory(), NAME, kj::arrayPtr(&trie, 1), kj::mv(options)); });
  KJ_IF_MAYBE (exception, failure) {
    EXPECT_NE(std::string(exception->getDescription().cStr()).find("no room left"),
              std::string::npos);
  } else {
    ADD_FAILURE() << "no exception";
  }
  EXPECT_TRUE(disk.now() == before);
}

// With several threads a fault in one ends the others, whoever it was.
TEST_F(Faults, AFaultOnAnotherThreadLeavesNothing) {
  for (int step = 0; step < 16 * 3; ++step) {
    SimulatedDisk disk(before);
    disk.failAt(step, Fault::ONE_STEP);
    CheckpointWriteOptions options;
    options.threads = 4;
    EXPECT_TRUE(kj::runCatchingExceptions([&]() {
                  writeCheckpoint(*disk.directory(), NAME, kj::arrayPtr(&trie, 1), kj::mv(options));
                }) != nullptr);
    EXPECT_TRUE(disk.now() == before);
  }
}

// --- What a killed process leaves ---

FileBytes leftBy(const FileBytes& files, std::vector<std::string>* removed = nullptr) {
  SimulatedDisk disk(files);
  for (auto& name : removeInterruptedCheckpoints(*disk.directory())) {
    if (removed != nullptr) removed->push_back(name.cStr());
  }
  return disk.now();
}

// flow-go renames each part as it is done, so it leaves parts beside one temporary file.
TEST(InterruptedCheckpoints, PartsOfAnUnfinishedCheckpointGoWithItsTemporaryFile) {
  std::vector<std::string> removed;
  EXPECT_TRUE(leftBy({{"checkpoint.00000012.000", "part"},
                      {"checkpoint.00000012.001", "part"},
                      {"writing-checkpoint.00000012.002-3141592", "half"},
                      {"writing-root.checkpoint-1", "half"},
                      {"00000012", "log"}},
                     &removed) == FileBytes({{"00000012", "log"}}));
  EXPECT_EQ(removed.size(), 4u);
}

// Parts whose header was lost may be all that an operator has.
TEST(InterruptedCheckpoints, PartsWithoutATemporaryFileStay) {
  FileBytes files = {{"checkpoint.00000012.000", "part"},
                     {"checkpoint.00000012.016", "part"},
                     {"root.checkpoint.000", "part"}};
  EXPECT_TRUE(leftBy(files) == files);
  files["writing-checkpoint.00000013-1"] = "another checkpoint's";
  auto expected = files;
  expected.erase("writing-checkpoint.00000013-1");
  EXPECT_TRUE(leftBy(files) == expected);
}

TEST(InterruptedCheckpoints, AFinishedCheckpointStays) {
  auto files = filesOf(CheckpointParts(), NAME);
  auto expected = files;
  files["writing-checkpoint.00000007.004-99"] = "of another attempt";
  EXPECT_TRUE(leftBy(files) == expected);
}

TEST(InterruptedCheckpoints, NamesThatNoWriterGivesStay) {
  FileBytes files;
  for (auto name : {"writing-checkpoint.00000007", "writing-checkpoint.00000007-",
                    "writing-checkpoint.00000007-1x", "writing-checkpoint.7-1",
                    "writing-checkpoint.00000007.017-1", "writing-checkpoint.00000007.16-1",
                    "writing-checkpoint.0000000a-1", "writing-root.checkpoint.txt-1", "writing--1",
                    "writing-", "rewriting-checkpoint.00000007-1", "writing-root.checkpoint.17-1",
                    "checkpoint.00000007.000", "checkpoint.00000007.016-1"}) {
    files[name] = "bytes";
  }
  EXPECT_TRUE(leftBy(files) == files);
}

}  // namespace
}  // namespace ledger
