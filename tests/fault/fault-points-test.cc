// SPDX-License-Identifier: Apache-2.0
// A process is killed, with SIGKILL, before and after each kind of step that it makes on its disk.
// What it had acknowledged is there for the next one; nothing else is, but the Set in flight.
#include "tests/fault/fault-point.h"
#include "tests/fault/survivor.h"
#include "tests/fault/workload.h"
#include "tests/testing/scratch-folder.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/io.h>

#include <cstdio>
#include <fstream>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace ledger::testing {
namespace {

// Of each point so many, and of those that come often every so many more.
constexpr int FIRST_OCCURRENCES = 20;
constexpr int STRIDE = 12;

class FaultPoints : public ::testing::TestWithParam<NamedFaultPoint> {
protected:
  enum class End { KILLED, DONE };

  // Runs the process on `folder`. Sets how many actions were acknowledged.
  End runProcess(const std::string& folder, int occurrence, const char* when, size_t& done) {
    int ends[2];
    KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
    kj::AutoCloseFd reader(ends[0]), writer(ends[1]);
    std::string program = "tests/fault/killed-ledger", path = folder,
                point = std::to_string(int(GetParam().point)), count = std::to_string(occurrence),
                moment = when;
    char* argv[] = {program.data(), path.data(), point.data(), count.data(), moment.data(),
                    nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, writer, STDOUT_FILENO);
    pid_t child;
    const int error = posix_spawn(&child, argv[0], &actions, nullptr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    KJ_REQUIRE(error == 0, "cannot run", argv[0], error);
    writer = nullptr;

    done = 0;
    for (;;) {  // Until the process ends.
      char bytes[64];
      ssize_t n;
      KJ_SYSCALL(n = read(reader, bytes, sizeof(bytes)));
      if (n == 0) break;
      done += n;
    }
    int status;
    KJ_SYSCALL(waitpid(child, &status, 0));
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return End::KILLED;
    KJ_REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the process failed", status);
    return End::DONE;
  }

  History historyAfter(size_t done) const {
    History history;
    for (int set : workload.setsBefore) {
      history.entries.push_back({set, History::Fate::ACKNOWLEDGED});
    }
    for (size_t i = 0; i < workload.actions.size(); ++i) {
      auto& action = workload.actions[i];
      if (i > done) break;
      if (action.kind != Action::Kind::SET) continue;
      history.entries.push_back(
          {action.set, i < done ? History::Fate::ACKNOWLEDGED : History::Fate::UNKNOWN});
    }
    return history;
  }

  const Workload workload;
};

TEST_P(FaultPoints, LoseNothing) {
  int kills = 0;
  for (auto when : {"before", "after"}) {
    for (int occurrence = 1;; occurrence += occurrence < FIRST_OCCURRENCES ? 1 : STRIDE) {
      SCOPED_TRACE(::testing::Message() << when << " occurrence " << occurrence);
      ScratchFolder scratch;
      for (auto& [name, bytes] : workload.diskBefore) {
        std::ofstream(scratch / name, std::ios::binary) << bytes;
      }
      size_t done;
      if (runProcess(scratch.path(), occurrence, when, done) == End::DONE) break;
      ++kills;
      FileBytes left;
      for (auto& name : filesOf(scratch.path())) {
        auto bytes = readFile(scratch / name);
        left[name] = std::string(bytes.asChars().begin(), bytes.size());
      }
      EXPECT_EQ(judge(workload, left, historyAfter(done), History::After::KILL).problem, "");
    }
  }
  printf("killed %d times at %s\n", kills, GetParam().name);
  EXPECT_GT(kills, 0) << "no such step";
}

INSTANTIATE_TEST_SUITE_P(All, FaultPoints, ::testing::ValuesIn(FAULT_POINTS),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace ledger::testing
