// SPDX-License-Identifier: Apache-2.0
#pragma once
// Judges what a fault left on disk: a ledger must open on it, hold every Set that was acknowledged
// and none by halves, and go on.

#include "tests/fault/workload.h"
#include "tests/testing/simulated-disk.h"

#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace ledger::testing {

// The Sets of a log, in order, as far as their caller knows.
struct History {
  enum class Fate {
    ACKNOWLEDGED,  // Must be there.
    UNSYNCED,      // Acknowledged, and with the machine it may be lost, with all that follow.
    UNKNOWN        // In flight, or failed with the log's state unknown: there or not, but whole.
  };
  // What happened since.
  enum class After { KILL, CRASH };  // To the process; to the machine.
  struct Entry {
    int set;
    Fate fate;
  };
  std::vector<Entry> entries;
  kj::Maybe<uint64_t> checkpoint;  // The newest one that was asked for, and is said to be on disk.

  // Every sequence of Sets that may be there.
  std::vector<std::vector<int>> possible(After after) const;
};

// Collects what a ledger reports. Thread: any.
class Reports final : public Reporter {
public:
  void info(kj::StringPtr) const override {}
  void warn(kj::StringPtr text) const override;
  std::vector<std::string> warnings() const;

private:
  mutable std::mutex mutex;
  mutable std::vector<std::string> texts;
};

// Whether `ledger`'s forest is one that `history` allows; then the Sets that are in it. Else null.
kj::Maybe<std::vector<int>> findForest(const Workload& workload, const Ledger& ledger,
                                       const History& history, History::After after);

struct Verdict {
  std::string problem;        // Empty: all is well.
  bool wasRefused = false;    // As damaged: then it was opened with what --recover does.
};

// Opens a ledger on `files`, compares it, has it take a Set, and opens it again. A start may be
// refused only after a crash of the machine, and if the workload's log is synced late.
Verdict judge(const Workload& workload, const FileBytes& files, const History& history,
              History::After after);

// Judges all that a crash may leave of a disk, each different outcome once. Thread: one at a time.
class CrashJudge final {
public:
  explicit CrashJudge(const Workload& workload) : workload(workload) {}

  // Empty, or the first thing that is wrong.
  std::string crashNow(const SimulatedDisk& disk, SimulatedDisk::Tears tears,
                       const History& history);

  size_t considered() const { return all; }
  size_t judged() const { return seen.size(); }  // Each that another one was like, once.
  size_t refused() const { return refusals; }    // Of these, at the first attempt.

private:
  const Workload& workload;
  size_t all = 0;
  size_t refusals = 0;
  std::unordered_map<size_t, std::string> seen;  // What is wrong, by a hash of files and history.
};

}  // namespace ledger::testing
