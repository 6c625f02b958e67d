// SPDX-License-Identifier: Apache-2.0
#pragma once
// One run of the workload on a simulated disk, through whatever happens to the disk.

#include "tests/fault/survivor.h"
#include "tests/fault/workload.h"
#include "tests/testing/simulated-disk.h"

#include <mutex>
#include <string>
#include <vector>

namespace ledger::testing {

// Sanitizers make a run several times as long: there, one step in so many is enough.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr int STEP_STRIDE = 6;
#else
constexpr int STEP_STRIDE = 1;
#endif

class WorkloadRun final {
public:
  // What the disk may do during the run; what follows from it is demanded.
  enum class Disk {
    WORKS,       // Nothing may fail.
    FAILS_ONCE,  // All that fails works when it is tried again, at the latest after a restart.
    DIES,        // The run ends with the first Set that fails, or a start.
    IS_KILLED,   // Not the disk but the process: then it is started again, on what it had written.
    IS_FULL      // Until a Set or a start has failed: then there is room, and Sets work at once.
  };

  WorkloadRun(const Workload& workload, SimulatedDisk& disk, Disk behaviour)
      : workload(workload), disk(disk), behaviour(behaviour) {}
  ~WorkloadRun() noexcept(false);
  KJ_DISALLOW_COPY(WorkloadRun);

  // Empty, or the first thing that is wrong. Judges what a crash would leave after each Set that
  // fails, with `judge`.
  std::string perform(CrashJudge& judge);

  // What the ledger's caller knows; null while it asks for what is not in the workload, and when it
  // knows that its ledger is dead. Thread: any.
  kj::Maybe<History> history() const;

  // The number of the first step after the disk was made to work again. Thread: any.
  int healedAt() const;

private:
  void open();
  kj::Maybe<Error> trySet(int number);
  void set(int number);
  void refused(int number, const Error& error);
  void checkpoint();
  void resolve();
  void noteSyncs();
  void note(int set, History::Fate fate);
  void forget(int set);
  void makeKnown(bool whether);
  void heal();
  [[noreturn]] void wrong(std::string problem) const;

  const Workload& workload;
  SimulatedDisk& disk;
  const Disk behaviour;
  Reports reports;
  CrashJudge* judge = nullptr;
  kj::Own<Ledger> ledger;
  bool dead = false;
  uint64_t lastSegment = 0;  // Of the log, when it was looked at last.

  mutable std::mutex mutex;  // Only the run itself writes what follows.
  History known;
  bool isKnown = true;
  int firstHealthyStep = SimulatedDisk::NEVER;
};

// The steps of a run on a disk that works.
std::vector<DiskStep> stepsOf(const Workload& workload);

// Keeps what KJ would log on this thread, and on those that it starts, to itself: faults are
// expected here by the thousand.
class Silence final : public kj::ExceptionCallback {
public:
  void logMessage(kj::LogSeverity, const char*, int, int, kj::String&&) override {}
  kj::Function<void(kj::Function<void()>)> getThreadInitializer() override;
};

}  // namespace ledger::testing
