// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes tries as a checkpoint of version 6: the bytes that flow-go writes for the same tries with
// the same sharing of nodes.
//
// A node that several tries share is written once, where it is met first: what counts is that it is
// the same node of the store, not that it looks the same. Subtrie parts are independent of one
// another, so threads change the time and never the bytes.
//
// No attempt touches a file that it did not create, and a header on disk means 17 complete parts on
// disk, after a crash at any point:
//   1. every file, the header last, is written under a temporary name (writer-temporaries.h) and
//   synced;
//   2. the directory is synced, so that the header's temporary name outlasts what follows;
//   3. the parts get their names, and the directory is synced;
//   4. the header gets its name, and the directory is synced.
// What a killed process leaves is removed by removeInterruptedCheckpoints().

#include "ledger/error.h"
#include "ledger/give-way.h"
#include "ledger/stop.h"
#include "ledger/trie/trie.h"

#include <kj/filesystem.h>
#include <kj/function.h>

namespace ledger {

constexpr uint64_t CHECKPOINT_MAX_TRIES = 65535;  // A u16 in the file.

struct CheckpointWriteOptions {
  // That write subtrie parts side by side, the caller's own among them. 1 to 16.
  unsigned threads = 2;

  // Bytes written, and to be written as far as one can tell before: an estimate, which `done` never
  // exceeds and meets at the end. Called by one thread at a time, whichever writes, after each
  // write, and at the end. An exception ends the writing as a fault does.
  kj::Function<void(uint64_t done, uint64_t total)> progress = [](uint64_t, uint64_t) {};

  // Each thread gives way to these after each write.
  const SetsInProgress& sets = SetsInProgress::none();

  // Looked at by all threads every thousand nodes and once per file.
  const Stop& stop = Stop::never();
};

struct WrittenCheckpoint {
  uint64_t bytes = 0;  // Of all 18 files.
  uint64_t nodes = 0;  // Of all parts.
};

// Writes `tries`, 1 to CHECKPOINT_MAX_TRIES of one store, oldest first and repeated ones too, as
// checkpoint `name` (checkpointName() or ROOT_CHECKPOINT_NAME). Errors: FAILED_PRECONDITION if a
// file of that checkpoint is there, which is not touched; INVALID_ARGUMENT for another number of
// tries; CANCELLED if `stop` was requested. Throws if a file cannot be written. In all these cases
// what was written is removed; if that fails too, the exception's text names what is left.
//
// The caller holds the directory's lock, or else sees to it that nobody else writes a checkpoint of
// this name. `directory` must be able to move a file within itself, which KJ's in-memory directory
// is not: it would wait for ever.
//
// Memory, all but the buffers out of the store's budget (over it: OVERLOADED is thrown): a buffer
// of 128 KiB per thread; for each node with more than one reference 22 to 43 bytes (64 while a
// table grows) until the part is done, so that a node that no other trie or node refers to costs
// nothing; as much for each different subtrie at height 252, until the end.
Result<WrittenCheckpoint> writeCheckpoint(const kj::Directory& directory, kj::StringPtr name,
                                          kj::ArrayPtr<const kj::Own<const Trie>> tries,
                                          CheckpointWriteOptions options = {});

// About how many bytes a checkpoint of all tries of `store` takes. Exact but for payloads that
// several leaves share, which are taken to have the mean size.
uint64_t estimateCheckpointSize(const Store& store);

}  // namespace ledger
