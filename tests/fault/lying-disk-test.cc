// SPDX-License-Identifier: Apache-2.0
// Negative controls: on a disk that lies about one sync, or lets one rename overtake others, the
// enumerated crash test must find a loss. A sync whose absence no crash shows is one too many, or
// the test is blind there: those that are known are listed, with the reason.
#include "tests/fault/workload-run.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <map>

namespace ledger::testing {
namespace {

using Tears = SimulatedDisk::Tears;

// Of the syncs with which a start begins, those of the restart amid the workload.
constexpr int A_CLEAN_RESTART = 1;

class LyingDisk : public ::testing::Test {
protected:
  // What a crash shows of a lie at `lied`; empty: nothing.
  std::string detect(const DiskStep& lied, Tears tears) {
    SimulatedDisk disk(workload.diskBefore);
    disk.lieAt(lied.number);
    WorkloadRun run(workload, disk, WorkloadRun::Disk::WORKS);
    std::string problem;
    auto look = [&]() {
      KJ_IF_MAYBE (history, run.history()) problem = judge.crashNow(disk, tears, *history);
    };
    disk.onStep([&](const DiskStep& step) {
      if (step.number == lied.number) {
        EXPECT_EQ(step.label(), lied.label());
      }
      // What may be left only grows until something is synced.
      if (step.number <= lied.number || !step.isSync() || !problem.empty()) return;
      look();
      if (!problem.empty()) disk.crashAt(step.number);  // Enough.
    });
    auto outcome = run.perform(judge);
    if (problem.empty()) {
      EXPECT_EQ(outcome, "");
      look();
    }
    return problem;
  }

  // Lies at each step that `concerns` picks, and prints what came of it by the steps' labels.
  // Returns the labels of those that nothing came of, with their numbers.
  template <typename Concerns>
  std::map<std::string, int> lieAtEach(Concerns&& concerns) {
    struct Row {
      int lies = 0, detected = 0;
      std::string example;
    };
    std::map<std::string, Row> table;
    for (auto& step : stepsOf(workload)) {
      if (!concerns(step)) continue;
      auto problem = detect(step, Tears::COARSE);
      if (problem.empty()) problem = detect(step, Tears::FINE);
      auto& row = table[step.label()];
      ++row.lies;
      if (problem.empty()) continue;
      ++row.detected;
      if (row.example.empty()) row.example = problem.substr(0, 90);
    }
    std::map<std::string, int> undetected;
    printf("%-50s %5s %9s\n", "lie about", "lies", "detected");
    for (auto& [label, row] : table) {
      printf("%-50s %5d %9d  %s\n", label.c_str(), row.lies, row.detected, row.example.c_str());
      if (row.detected < row.lies) undetected[label] = row.lies - row.detected;
    }
    printf("states judged: %zu\n", judge.judged());
    return undetected;
  }

  const Workload workload;
  CrashJudge judge{workload};
};

TEST_F(LyingDisk, IsFoundOutAtEverySync) {
  const std::map<std::string, int> known = {
      // The zeros that fill a segment's last page: without them it reads the same.
      {"datasync segment", 5},
      // After the end of a segment on demand, the checkpoint syncs the directory before a Set comes:
      // here, where Sets wait for it.
      {"sync directory after create segment", 1},
      // Of the last superfluous segment: it is removed again if it comes back.
      {"sync directory after remove segment", 3 + A_CLEAN_RESTART},
      // The last trace of a checkpoint: a start removes it, too.
      {"sync directory after remove temporary header", 2},
      {"sync directory after remove temporary part", 1},
      // A start syncs what it finds, in case that the process before was killed: see the next test.
      {"sync directory", 1},
      {"sync segment", 1 + A_CLEAN_RESTART},
  };
  EXPECT_EQ(lieAtEach([](const DiskStep& step) { return step.isSync(); }), known);
}

// A process is killed at some sync, the next one starts and goes on, and the disk lies about the
// n-th step of that start.
TEST_F(LyingDisk, IsFoundOutAtAStartAfterAKill) {
  const char* names[] = {"the directory", "the end of the log"};
  for (int ofStart : {0, 1}) {
    std::string problem;
    for (auto& killedAt : stepsOf(workload)) {
      if (!killedAt.isSync()) continue;
      SimulatedDisk disk(workload.diskBefore);
      disk.failAt(killedAt.number, SimulatedDisk::Fault::ALL_FROM_A_STEP);
      WorkloadRun run(workload, disk, WorkloadRun::Disk::IS_KILLED);
      int looks = 8;  // A restart and some Sets.
      disk.onStep([&](const DiskStep& step) {
        const int start = run.healedAt();
        if (start == SimulatedDisk::NEVER || !step.isSync() || looks == 0) return;
        if (step.number == start + ofStart) {
          EXPECT_EQ(step.kind(), ofStart == 0 ? FileKind::DIRECTORY : FileKind::SEGMENT);
          disk.lieAt(step.number);
        }
        KJ_IF_MAYBE (history, run.history()) {
          --looks;
          problem = judge.crashNow(disk, Tears::COARSE, *history);
          if (!problem.empty()) disk.crashAt(step.number);
        }
      });
      run.perform(judge);
      if (problem.empty()) continue;
      printf("lie about %s, after a kill at step %d, %s: %s\n", names[ofStart], killedAt.number,
             killedAt.label().c_str(), problem.substr(0, 90).c_str());
      break;
    }
    EXPECT_NE(problem, "") << names[ofStart];
  }
}

TEST_F(LyingDisk, IsFoundOutAtEveryRenameThatOvertakes) {
  EXPECT_EQ(lieAtEach([](const DiskStep& step) { return step.operation == Operation::RENAME; }),
            (std::map<std::string, int>()));
}

}  // namespace
}  // namespace ledger::testing
