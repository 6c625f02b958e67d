// SPDX-License-Identifier: Apache-2.0
#pragma once
// A ledger in the benchmark's own process, on a folder of its own, with the workload's registers.

#include "bench/workload.h"
#include "ledger/ledger.h"
#include "tests/testing/scratch-folder.h"

namespace ledger::bench {

class CoreLedger final {
public:
  // Loads all registers, in Sets of `setSize`.
  CoreLedger(const Workload& workload, uint64_t setSize);

  const Ledger& ledger() const { return *opened; }
  const RootHash& base() const { return state; }  // After the load.

private:
  testing::ScratchFolder folder;  // Outlives the ledger in it.
  kj::Own<Ledger> opened;
  RootHash state;
};

}  // namespace ledger::bench
