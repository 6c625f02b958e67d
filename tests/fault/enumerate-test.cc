// SPDX-License-Identifier: Apache-2.0
// Every step that a ledger makes on its disk, in a workload with everything in it, is made to fail,
// in each way, and is the last one before a crash.
#include "tests/fault/workload-run.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <map>

namespace ledger::testing {
namespace {

using Fault = SimulatedDisk::Fault;
using Tears = SimulatedDisk::Tears;

// A workload and what came of it; shared by the tests of a setting, so that a state that several of
// them arrive at is judged once.
struct Subject {
  explicit Subject(Setting setting)
      : workload(setting), steps(stepsOf(workload)), judge(workload) {}

  const Workload workload;
  const std::vector<DiskStep> steps;
  CrashJudge judge;
};

Subject& syncedAtOnce() {
  static Subject instance{Setting{}};
  return instance;
}

class Count {
public:
  explicit Count(const CrashJudge& judge)
      : judge(judge), considered(judge.considered()), judged(judge.judged()) {}

  void print(int runs, const char* what) const {
    printf("%d %s; states after a crash: %zu, of which not seen before, and judged: %zu\n", runs,
           what, judge.considered() - considered, judge.judged() - judged);
  }

private:
  const CrashJudge& judge;
  const size_t considered, judged;
};

// A crash after a fault is looked at before so many syncs: enough for a restart and some Sets. What
// may be left only grows until something is synced.
constexpr int SYNCS_AFTER_A_FAULT = 12;

// A run for each step that `concerns` picks, with that fault at it.
template <typename Concerns>
void failAtEach(Subject& subject, Fault fault, WorkloadRun::Disk behaviour, size_t written,
                Concerns&& concerns) {
  auto& [workload, steps, judge] = subject;
  Count count(judge);
  int runs = 0;
  for (auto& failing : steps) {
    if (!concerns(failing) || failing.number % STEP_STRIDE != 0) continue;
    ++runs;
    SimulatedDisk disk(workload.diskBefore);
    disk.failAt(failing.number, fault, written);
    WorkloadRun run(workload, disk, behaviour);
    std::string afterCrash;
    int looks = SYNCS_AFTER_A_FAULT;
    disk.onStep([&](const DiskStep& step) {
      if (step.number <= failing.number || !step.isSync()) return;
      if (looks == 0 || !afterCrash.empty()) return;
      KJ_IF_MAYBE (history, run.history()) {
        afterCrash = subject.judge.crashNow(disk, Tears::COARSE, *history);
        --looks;
      }
    });
    auto problem = run.perform(judge);
    EXPECT_EQ(problem, "") << "step " << failing.number << ", " << failing.label();
    EXPECT_EQ(afterCrash, "") << "a crash after step " << failing.number << ", "
                              << failing.label();
    if (::testing::Test::HasFailure()) break;
  }
  count.print(runs, "steps failed");
}

// A crash before each step that `concerns` picks, and at the end.
template <typename Concerns>
void crashAtEach(Subject& subject, Concerns&& concerns) {
  auto& judge = subject.judge;
  Count count(judge);
  SimulatedDisk disk(subject.workload.diskBefore);
  WorkloadRun run(subject.workload, disk, WorkloadRun::Disk::WORKS);
  std::string problem, where;
  int crashes = 0;
  disk.onStep([&](const DiskStep& step) {
    if (!problem.empty() || !concerns(step)) return;
    ++crashes;
    problem = judge.crashNow(disk, Tears::FINE, KJ_ASSERT_NONNULL(run.history()));
    where = step.label();
  });
  EXPECT_EQ(run.perform(judge), "");
  EXPECT_EQ(problem, "") << "before " << where;
  EXPECT_EQ(judge.crashNow(disk, Tears::FINE, KJ_ASSERT_NONNULL(run.history())), "");
  count.print(crashes, "steps were the last");
}

bool any(const DiskStep&) { return true; }

bool isWrite(const DiskStep& step) { return step.operation == Operation::WRITE; }

// With sanitizers still fewer: the other tests have led them through the same code.
constexpr int LOG_STRIDE = STEP_STRIDE == 1 ? 1 : 3 * STEP_STRIDE;

bool isOfTheLog(const DiskStep& step) {
  return step.number % LOG_STRIDE == 0 &&
         (step.kind() == FileKind::SEGMENT || step.kind() == FileKind::DIRECTORY);
}

TEST(Workload, HasEverythingInIt) {
  std::map<std::string, int> labels;
  auto& steps = syncedAtOnce().steps;
  for (auto& step : steps) ++labels[step.label()];
  for (auto& [label, count] : labels) printf("%5d  %s\n", count, label.c_str());
  printf("%5zu  steps\n", steps.size());
  EXPECT_GE(labels["create segment"], 3);
  EXPECT_GE(labels["rename header"], 2);
  EXPECT_GE(labels["truncate segment"], 1);
  EXPECT_GE(labels["remove segment"], 1);
  EXPECT_GE(labels["remove part"], 17);
}

TEST(EveryStep, CanBeTheLastBeforeACrash) {
  crashAtEach(syncedAtOnce(), any);
  EXPECT_EQ(syncedAtOnce().judge.refused(), 0u);
}

TEST(EveryStep, CanFail) {
  failAtEach(syncedAtOnce(), Fault::ONE_STEP, WorkloadRun::Disk::FAILS_ONCE, 0, any);
}

TEST(EveryStep, CanFailThoughItIsMade) {
  failAtEach(syncedAtOnce(), Fault::ONE_STEP_LATE, WorkloadRun::Disk::FAILS_ONCE, 0, any);
}

TEST(EveryStep, CanBeWhereTheDiskDies) {
  failAtEach(syncedAtOnce(), Fault::ALL_FROM_A_STEP, WorkloadRun::Disk::DIES, 0, any);
}

TEST(EveryStep, CanBeWhereTheProcessIsKilled) {
  failAtEach(syncedAtOnce(), Fault::ALL_FROM_A_STEP, WorkloadRun::Disk::IS_KILLED, 0, any);
}

TEST(EveryStep, CanBeWhereTheDiskIsFull) {
  failAtEach(syncedAtOnce(), Fault::FULL_FROM_A_STEP, WorkloadRun::Disk::IS_FULL, 0, any);
}

TEST(EveryWrite, CanFallShort) {
  for (size_t written : {1, 7, 4097}) {
    failAtEach(syncedAtOnce(), Fault::FULL_FROM_A_STEP, WorkloadRun::Disk::IS_FULL, written,
               isWrite);
  }
}

// With --wal-sync interval or none. What a crash of the machine may take is what was acknowledged
// since the last sync that was due, from some Set on; a kill of the process takes nothing. What is
// not of the log is the same with all settings.
Subject& syncedLate(SyncPolicy::Mode mode) {
  static std::map<SyncPolicy::Mode, Subject> instances;
  return instances
      .try_emplace(mode, Setting{.walSync = {mode, 1 * kj::MILLISECONDS},
                                 .checkpointDistance = 1000})
      .first->second;
}

class EveryStepSyncedLate : public ::testing::TestWithParam<SyncPolicy::Mode> {
protected:
  Subject& subject = syncedLate(GetParam());
};

TEST_P(EveryStepSyncedLate, CanBeTheLastBeforeACrash) {
  crashAtEach(subject, isOfTheLog);
  printf("starts refused, and made with --recover: %zu\n", subject.judge.refused());
  // With gaps between Sets that were not synced. With the interval each was, before the next.
  if (LOG_STRIDE == 1) {
    EXPECT_EQ(subject.judge.refused() > 0, GetParam() == SyncPolicy::Mode::NEVER);
  }
}

TEST_P(EveryStepSyncedLate, CanFail) {
  failAtEach(subject, Fault::ONE_STEP, WorkloadRun::Disk::FAILS_ONCE, 0, isOfTheLog);
}

TEST_P(EveryStepSyncedLate, CanBeWhereTheProcessIsKilled) {
  failAtEach(subject, Fault::ALL_FROM_A_STEP, WorkloadRun::Disk::IS_KILLED, 0, isOfTheLog);
}

INSTANTIATE_TEST_SUITE_P(Modes, EveryStepSyncedLate,
                         ::testing::Values(SyncPolicy::Mode::INTERVAL, SyncPolicy::Mode::NEVER),
                         [](const auto& info) {
                           return info.param == SyncPolicy::Mode::INTERVAL ? "Interval" : "None";
                         });

}  // namespace
}  // namespace ledger::testing
