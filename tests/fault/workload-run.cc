// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/workload-run.h"

#include "ledger/wal/segment.h"
#include "tests/testing/await.h"

#include <kj/debug.h>

namespace ledger::testing {

using After = History::After;
using Fate = History::Fate;
using Kind = Action::Kind;

WorkloadRun::~WorkloadRun() noexcept(false) {}

void WorkloadRun::wrong(std::string problem) const {
  KJ_FAIL_REQUIRE("wrong", problem.c_str());
}

kj::Maybe<History> WorkloadRun::history() const {
  std::lock_guard lock(mutex);
  if (!isKnown) return nullptr;
  return known;
}

void WorkloadRun::makeKnown(bool whether) {
  std::lock_guard lock(mutex);
  isKnown = whether;
}

void WorkloadRun::heal() {
  disk.failAt(SimulatedDisk::NEVER, SimulatedDisk::Fault::ONE_STEP);
  const int next = disk.stepsTaken();
  std::lock_guard lock(mutex);
  firstHealthyStep = next;
}

int WorkloadRun::healedAt() const {
  std::lock_guard lock(mutex);
  return firstHealthyStep;
}

void WorkloadRun::note(int set, Fate fate) {
  std::lock_guard lock(mutex);
  if (!known.entries.empty() && known.entries.back().set == set) known.entries.pop_back();
  known.entries.push_back({set, fate});
}

void WorkloadRun::forget(int set) {
  std::lock_guard lock(mutex);
  KJ_ASSERT(known.entries.back().set == set);
  known.entries.pop_back();
}

// Closes the ledger and opens it; a start that fails is tried once more where that must help.
void WorkloadRun::open() {
  ledger = nullptr;
  auto attempt = [&]() {
    return kj::runCatchingExceptions([&]() {
      ledger = openLedger(disk.directory(), reports, workload.setting);
    });
  };
  KJ_IF_MAYBE (exception, attempt()) {
    switch (behaviour) {
      case Disk::WORKS: wrong(std::string("no start: ") + exception->getDescription().cStr());
      case Disk::DIES: dead = true; return;
      case Disk::IS_KILLED:
      case Disk::IS_FULL: heal(); break;
      case Disk::FAILS_ONCE: break;
    }
    KJ_IF_MAYBE (again, attempt()) {
      wrong(std::string("no start after a fault: ") + again->getDescription().cStr());
    }
  }
  lastSegment = ledger->stats().activeSegment;
  resolve();
}

// What is in the log now is certain.
void WorkloadRun::resolve() {
  KJ_IF_MAYBE (sets, findForest(workload, *ledger, known, After::KILL)) {
    std::lock_guard lock(mutex);
    known.entries.clear();
    for (int set : *sets) known.entries.push_back({set, Fate::ACKNOWLEDGED});
  } else {
    wrong("a restart lost a Set, or kept half of one");
  }
}

// Null: the ledger took it.
kj::Maybe<Error> WorkloadRun::trySet(int number) {
  note(number, Fate::UNKNOWN);
  auto result = workload.set(*ledger, number);
  if (result.is<Error>()) return kj::mv(result.get<Error>());
  note(number, workload.setting.syncsLate() ? Fate::UNSYNCED : Fate::ACKNOWLEDGED);
  noteSyncs();
  if (result.get<RootHash>() != workload.state(number)) wrong("a Set led to another state");
  awaitIdle(*ledger);
  return nullptr;
}

// Of the Sets that a late sync may have reached by now. With an interval that is over before the
// next Set, all of them; without one, those of the segments before the last.
void WorkloadRun::noteSyncs() {
  size_t synced = 0;
  switch (workload.setting.walSync.mode) {
    case SyncPolicy::Mode::ALWAYS: return;
    case SyncPolicy::Mode::INTERVAL:
      await("the sync", [&]() {
        return disk.isSynced(walSegmentName(ledger->stats().activeSegment).cStr()) ||
               ledger->stats().log.state != LogHealth::State::GOOD;
      });
      if (ledger->stats().log.state != LogHealth::State::GOOD) return;
      synced = known.entries.size();
      break;
    case SyncPolicy::Mode::NEVER:
      if (ledger->stats().activeSegment == lastSegment) return;
      synced = known.entries.size() - 1;
      break;
  }
  lastSegment = ledger->stats().activeSegment;
  std::lock_guard lock(mutex);
  for (size_t i = 0; i < synced; ++i) {
    auto& fate = known.entries[i].fate;
    if (fate == Fate::UNSYNCED) fate = Fate::ACKNOWLEDGED;
  }
}

void WorkloadRun::set(int number) {
  KJ_IF_MAYBE (error, trySet(number)) {
    refused(number, *error);
  } else {
    return;
  }
  if (dead || (!known.entries.empty() && known.entries.back().set == number)) return;
  KJ_IF_MAYBE (again, trySet(number)) {
    wrong(std::string("a Set is refused again: ") + again->message.cStr());
  }
}

// Returns with a ledger that must take the Set, or has it, or with a dead one.
void WorkloadRun::refused(int number, const Error& error) {
  const auto health = ledger->stats().log.state;
  if (behaviour == Disk::WORKS || error.reason != Reason::WRITE_FAILED) {
    wrong(std::string("a Set is refused: ") + error.message.cStr());
  }
  if (health == LogHealth::State::GOOD) wrong("a Set is refused by a log that says it is well");
  // What is refused by a log that takes further Sets is not in it.
  if (health == LogHealth::State::REFUSED) forget(number);

  auto before = known;
  if (health == LogHealth::State::FAILED) before.entries.pop_back();
  if (findForest(workload, *ledger, before, After::KILL) == nullptr) {
    wrong("a refused Set is in the forest");
  }
  auto difference = workload.compareValues(*ledger);
  if (!difference.empty()) wrong("reads after a fault: " + difference);

  if (health == LogHealth::State::FAILED || behaviour != Disk::FAILS_ONCE) {
    makeKnown(false);
    auto newest = workload.forest(before.possible(After::KILL)[0]).back();
    if (workload.setAnother(*ledger, newest).is<RootHash>()) {
      wrong("a Set is taken though the log cannot be written");
    }
    makeKnown(true);
  }
  auto problem = judge->crashNow(disk, SimulatedDisk::Tears::COARSE, known);
  if (!problem.empty()) wrong("a crash after a Set that failed: " + problem);

  switch (behaviour) {
    case Disk::WORKS:
    case Disk::FAILS_ONCE:
      if (health == LogHealth::State::FAILED) open();
      break;
    case Disk::DIES:
      dead = true;
      break;
    case Disk::IS_KILLED:
      ledger = nullptr;
      heal();
      open();
      break;
    case Disk::IS_FULL:
      heal();
      if (health == LogHealth::State::FAILED) wrong("a full disk needs a restart");
      break;
  }
}

// One that fails is tried again where that must help; not if the log failed with it.
void WorkloadRun::checkpoint() {
  auto attempt = [&]() {
    auto result = ledger->checkpoint(Stop::never());
    KJ_IF_MAYBE (number, result.tryGet<uint64_t>()) {
      std::lock_guard lock(mutex);
      known.checkpoint = *number;
      for (auto& entry : known.entries) {
        if (entry.fate == Fate::UNSYNCED) entry.fate = Fate::ACKNOWLEDGED;
      }
    }
    return result;
  };
  auto result = attempt();
  if (result.is<uint64_t>()) return;
  if (behaviour == Disk::WORKS) {
    wrong(std::string("no checkpoint: ") + result.get<Error>().message.cStr());
  }
  if (behaviour != Disk::FAILS_ONCE) return;  // A Set will fail.
  if (ledger->stats().log.state == LogHealth::State::FAILED) open();
  result = attempt();
  if (result.is<Error>()) {
    wrong(std::string("no checkpoint after a fault: ") + result.get<Error>().message.cStr());
  }
}

std::string WorkloadRun::perform(CrashJudge& crashJudge) {
  judge = &crashJudge;
  Silence silence;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 for (int set : workload.setsBefore) note(set, Fate::ACKNOWLEDGED);
                 open();
                 for (auto& action : workload.actions) {
                   if (dead) break;
                   switch (action.kind) {
                     case Kind::SET: set(action.set); break;
                     case Kind::CHECKPOINT: checkpoint(); break;
                     case Kind::RESTART: open(); break;
                   }
                 }
                 if (behaviour == Disk::FAILS_ONCE) checkpoint();
                 ledger = nullptr;
                 auto problem = testing::judge(workload, disk.now(), known, After::KILL).problem;
                 if (!problem.empty()) wrong("at the end: " + problem);
               })) {
    ledger = nullptr;
    return exception->getDescription().cStr();
  }
  return "";
}

std::vector<DiskStep> stepsOf(const Workload& workload) {
  std::vector<DiskStep> steps;
  SimulatedDisk disk(workload.diskBefore);
  disk.onStep([&](const DiskStep& step) { steps.push_back(step); });
  CrashJudge unused(workload);
  WorkloadRun run(workload, disk, WorkloadRun::Disk::WORKS);
  auto problem = run.perform(unused);
  KJ_REQUIRE(problem.empty(), problem.c_str());
  return steps;
}

kj::Function<void(kj::Function<void()>)> Silence::getThreadInitializer() {
  return [](kj::Function<void()> run) {
    Silence silence;
    run();
  };
}

}  // namespace ledger::testing
