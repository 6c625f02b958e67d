// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the fault tests have a ledger do, and what must come of it.
//
// A plan is fixed: Sets on a few forks, with values of some KiB so that a segment holds few of
// them, checkpoints, a restart. The model knows every state that the plan leads to from a run on a
// disk without faults; from then on it only counts which Sets are in the log.

#include "ledger/ledger.h"
#include "ledger/model.h"
#include "tests/testing/simulated-disk.h"

#include <kj/array.h>

#include <map>
#include <string>
#include <vector>

namespace ledger::testing {

constexpr uint32_t FOREST_CAPACITY = 4;

// What a workload's ledger is opened with, beside what is the same for all.
struct Setting {
  SyncPolicy walSync = {};
  uint32_t checkpointDistance = 1;  // Segments.

  // Whether acknowledged Sets may be lost with the machine.
  bool syncsLate() const { return walSync.mode != SyncPolicy::Mode::ALWAYS; }
};

// Small segments, by default a checkpoint at the end of each, one of them kept and no segment that
// it makes superfluous, so that little is there twice; one thread for each, so that the steps come
// in the same order each time.
LedgerOptions workloadOptions(const Reporter& reporter, const Setting& setting = {});

// Of `directory`, with workloadOptions().
kj::Own<Ledger> openLedger(
    kj::Own<const kj::Directory> directory, const Reporter& reporter, const Setting& setting = {},
    LedgerOptions::Damage damage = LedgerOptions::Damage::REFUSE);

// Returns once no checkpoint is being written or about to be.
void awaitIdle(const Ledger& ledger);

struct PlannedSet {
  static constexpr int INITIAL = -1;
  int parent;                            // The Set whose state it updates, or INITIAL.
  std::map<uint64_t, size_t> registers;  // Number and length of the value; 0 unallocates it.
};

struct Action {
  enum class Kind { SET, CHECKPOINT, RESTART } kind;
  int set = 0;  // With SET.
};

// Thread: const methods from any thread.
class Workload final {
public:
  explicit Workload(Setting setting = {});
  KJ_DISALLOW_COPY(Workload);

  const Setting setting;

  // What the ledger finds: a log with the first two Sets, a third one torn, and a checkpoint whose
  // writer was killed.
  FileBytes diskBefore;
  std::string tornBytes;  // Of the third one, in that log.

  std::vector<int> setsBefore;  // Those first two.
  std::vector<Action> actions;  // What follows.

  Result<RootHash> set(const Ledger& ledger, int number) const;
  // A Set that is not among the planned ones, to see whether the ledger takes any.
  Result<RootHash> setAnother(const Ledger& ledger, const RootHash& state) const;

  const RootHash& state(int set) const;

  // The states of a forest after these Sets, oldest first.
  std::vector<RootHash> forest(const std::vector<int>& sets) const;

  // Reads all registers of all states of the forest that the plan knows. Empty: all is as it should
  // be; else what is not.
  std::string compareValues(const Ledger& ledger) const;

private:
  std::vector<PlannedSet> plan;
  std::vector<RootHash> states;                       // Of `plan`.
  std::vector<std::map<uint64_t, std::string>> contents;  // The registers of these states.
  RootHash initial;
};

}  // namespace ledger::testing
