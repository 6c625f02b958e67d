// SPDX-License-Identifier: Apache-2.0
#include "bench/core-ledger.h"

#include "bench/succeed.h"
#include "shm/memory-budget.h"
#include "shm/memory-limit.h"

#include <kj/debug.h>
#include <kj/filesystem.h>

#include <algorithm>

namespace ledger::bench {

CoreLedger::CoreLedger(const Workload& workload, uint64_t setSize) {
  auto disk = kj::newDiskFilesystem();
  auto path = disk->getCurrentPath().evalNative(folder.path());
  auto budget =
      shm::MemoryBudget::create("--memory-limit", shm::defaultMemoryLimit(disk->getRoot()));
  opened = Ledger::open(disk->getRoot().openSubdir(path, kj::WriteMode::MODIFY), folder.path(),
                        kj::mv(budget), LedgerOptions{});
  state = opened->initialState();
  for (uint64_t first = 0; first < workload.registers; first += setSize) {
    const auto registers = range(first, std::min(first + setSize, workload.registers));
    const auto keys = workload.keys(registers);
    const auto values = workload.values(registers, 1);
    state = succeed(opened->set(state, keys.items, values.items, nullptr, Stop::never()));
  }
}

}  // namespace ledger::bench
