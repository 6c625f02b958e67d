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

const Workload& workload() {
  static const Workload instance;
  return instance;
}

const std::vector<DiskStep>& steps() {
  static const auto instance = stepsOf(workload());
  return instance;
}

// Shared, so that a state that several tests arrive at is judged once.
CrashJudge& judge() {
  static CrashJudge instance(workload());
  return instance;
}

class Count {
public:
  void print(int runs, const char* what) const {
    printf("%d %s; states after a crash: %zu, of which not seen before, and judged: %zu\n", runs,
           what, judge().considered() - considered, judge().judged() - judged);
  }

private:
  size_t considered = judge().considered(), judged = judge().judged();
};

// A crash after a fault is looked at before so many syncs: enough for a restart and some Sets. What
// may be left only grows until something is synced.
constexpr int SYNCS_AFTER_A_FAULT = 12;

// Sanitizers make a run several times as long: there, one step in so many is enough.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int STRIDE = 6;
#else
constexpr int STRIDE = 1;
#endif

// A run for each step that `concerns` picks, with that fault at it.
template <typename Concerns>
void failAtEach(Fault fault, WorkloadRun::Disk behaviour, size_t written, Concerns&& concerns) {
  Count count;
  int runs = 0;
  for (auto& failing : steps()) {
    if (!concerns(failing) || failing.number % STRIDE != 0) continue;
    ++runs;
    SimulatedDisk disk(workload().diskBefore);
    disk.failAt(failing.number, fault, written);
    WorkloadRun run(workload(), disk, behaviour);
    std::string afterCrash;
    int looks = SYNCS_AFTER_A_FAULT;
    disk.onStep([&](const DiskStep& step) {
      if (step.number <= failing.number || !step.isSync()) return;
      if (looks == 0 || !afterCrash.empty()) return;
      KJ_IF_MAYBE (history, run.history()) {
        afterCrash = judge().crashNow(disk, Tears::COARSE, *history);
        --looks;
      }
    });
    auto problem = run.perform(judge());
    EXPECT_EQ(problem, "") << "step " << failing.number << ", " << failing.label();
    EXPECT_EQ(afterCrash, "") << "a crash after step " << failing.number << ", "
                              << failing.label();
    if (::testing::Test::HasFailure()) break;
  }
  count.print(runs, "steps failed");
}

bool any(const DiskStep&) { return true; }

bool isWrite(const DiskStep& step) { return step.operation == Operation::WRITE; }

TEST(Workload, HasEverythingInIt) {
  std::map<std::string, int> labels;
  for (auto& step : steps()) ++labels[step.label()];
  for (auto& [label, count] : labels) printf("%5d  %s\n", count, label.c_str());
  printf("%5zu  steps\n", steps().size());
  EXPECT_GE(labels["create segment"], 3);
  EXPECT_GE(labels["rename header"], 2);
  EXPECT_GE(labels["truncate segment"], 1);
  EXPECT_GE(labels["remove segment"], 1);
  EXPECT_GE(labels["remove part"], 17);
}

TEST(EveryStep, CanBeTheLastBeforeACrash) {
  Count count;
  SimulatedDisk disk(workload().diskBefore);
  WorkloadRun run(workload(), disk, WorkloadRun::Disk::WORKS);
  std::string problem, where;
  disk.onStep([&](const DiskStep& step) {
    if (!problem.empty()) return;
    problem = judge().crashNow(disk, Tears::FINE, KJ_ASSERT_NONNULL(run.history()));
    where = step.label();
  });
  EXPECT_EQ(run.perform(judge()), "");
  EXPECT_EQ(problem, "") << "before " << where;
  EXPECT_EQ(judge().crashNow(disk, Tears::FINE, KJ_ASSERT_NONNULL(run.history())), "");
  count.print(disk.stepsTaken(), "steps were the last");
}

TEST(EveryStep, CanFail) { failAtEach(Fault::ONE_STEP, WorkloadRun::Disk::FAILS_ONCE, 0, any); }

TEST(EveryStep, CanFailThoughItIsMade) {
  failAtEach(Fault::ONE_STEP_LATE, WorkloadRun::Disk::FAILS_ONCE, 0, any);
}

TEST(EveryStep, CanBeWhereTheDiskDies) {
  failAtEach(Fault::ALL_FROM_A_STEP, WorkloadRun::Disk::DIES, 0, any);
}

TEST(EveryStep, CanBeWhereTheProcessIsKilled) {
  failAtEach(Fault::ALL_FROM_A_STEP, WorkloadRun::Disk::IS_KILLED, 0, any);
}

TEST(EveryStep, CanBeWhereTheDiskIsFull) {
  failAtEach(Fault::FULL_FROM_A_STEP, WorkloadRun::Disk::IS_FULL, 0, any);
}

TEST(EveryWrite, CanFallShort) {
  for (size_t written : {1, 7, 4097}) {
    failAtEach(Fault::FULL_FROM_A_STEP, WorkloadRun::Disk::IS_FULL, written, isWrite);
  }
}

}  // namespace
}  // namespace ledger::testing
