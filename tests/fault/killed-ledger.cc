// SPDX-License-Identifier: Apache-2.0
// Carries out the workload in a directory on disk and kills itself on the way.
//
//   killed-ledger DIRECTORY POINT OCCURRENCE before|after
//
// POINT is a number of FaultPoint. One byte goes to standard output for each action once it is done.
// Exit code 0: the point has no such occurrence, the workload is done.
#include "tests/fault/fault-point.h"
#include "tests/fault/survivor.h"
#include "tests/fault/workload.h"
#include "tests/testing/watched-directory.h"

#include <kj/debug.h>

#include <atomic>
#include <cstdio>
#include <cstring>

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

namespace ledger::testing {
namespace {

class Killer final : public StepWatcher {
public:
  enum class When { BEFORE, AFTER };
  Killer(FaultPoint point, int occurrence, When when)
      : point(point), left(occurrence), when(when) {}

  void before(const DiskStep& step) override {
    if (pointOf(step) == point && --left == 0) {
      chosen = step.number;
      if (when == When::BEFORE) raise(SIGKILL);
    }
  }
  void after(const DiskStep& step) override {
    if (step.number == chosen) raise(SIGKILL);
  }

private:
  const FaultPoint point;
  std::atomic<int> left;
  const When when;
  std::atomic<int> chosen = -1;
};

void run(const char* path, Killer& killer) {
  const Workload workload;
  Reports reports;
  auto filesystem = kj::newDiskFilesystem();
  auto open = [&]() {
    auto directory = filesystem->getRoot().openSubdir(
        filesystem->getCurrentPath().evalNative(path), kj::WriteMode::MODIFY);
    return openLedger(watchSteps(kj::mv(directory), killer), reports);
  };
  auto ledger = open();
  for (auto& action : workload.actions) {
    switch (action.kind) {
      case Action::Kind::SET:
        KJ_REQUIRE(workload.set(*ledger, action.set).is<RootHash>(), action.set);
        break;
      case Action::Kind::CHECKPOINT:
        KJ_REQUIRE(ledger->checkpoint(Stop::never()).is<uint64_t>());
        break;
      case Action::Kind::RESTART:
        ledger = nullptr;
        ledger = open();
        break;
    }
    KJ_SYSCALL(write(STDOUT_FILENO, "", 1));
    // Or a checkpoint would be put off while another one runs, and some points come by chance.
    awaitIdle(*ledger);
  }
}

}  // namespace
}  // namespace ledger::testing

int main(int argc, char* argv[]) {
  using namespace ledger::testing;
  if (argc != 5) return 2;
  Killer killer(static_cast<FaultPoint>(atoi(argv[2])), atoi(argv[3]),
                strcmp(argv[4], "before") == 0 ? Killer::When::BEFORE : Killer::When::AFTER);
  run(argv[1], killer);
  return 0;
}
