// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a directory to a running ledger's parts: lock, checkpoint, replay, and a log to write to.

#include "ledger/forest.h"
#include "ledger/ledger.h"
#include "ledger/trie/store.h"
#include "ledger/trie/update.h"
#include "ledger/wal/directory-lock.h"
#include "ledger/wal/writer.h"
#include "shm/memory-budget.h"

#include <kj/filesystem.h>

namespace ledger {

struct Recovered {
  DirectoryLock lock;
  kj::Own<const Store> store;
  kj::Own<const shm::MemoryBudget> budget;
  kj::Own<const ThreadPool> pool;
  kj::Own<const Forest> forest;
  kj::Own<WalWriter> writer;
  kj::Maybe<uint64_t> checkpoint;  // Number of the one that was loaded.
};

// A trie is built of these: of a Set, or of a record of the log.
void countUpdate(const LedgerMeters& meters, const TrieUpdater::Figures& figures);

// As Ledger::open(). The order: lock, checkpoint, segments, cut of a torn tail, removal of what an
// interrupted checkpoint left, a new segment.
Recovered recover(const kj::Directory& directory, kj::StringPtr directoryName,
                  kj::Own<const shm::MemoryBudget> budget, LedgerOptions& options);

}  // namespace ledger
