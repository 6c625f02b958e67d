// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads a checkpoint of version 6: all 18 files, every checksum, every count against the sizes of
// the files before anything is reserved.
//
// Checked: magic, version, length and checksum of each file, the header's list of checksums,
// counts; node types, children before parents and one level below them, heights within the part,
// the path prefix of leaves in subtrie parts, payloads to the byte; root height 256 and root hash.
// Not checked: that hashes follow from what is below them; flow-go trusts them too.

#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/sink.h"
#include "ledger/give-way.h"

#include <kj/filesystem.h>
#include <kj/function.h>

namespace ledger {

struct CheckpointReadOptions {
  // That read subtrie parts side by side, the caller's own among them. 1 to 16.
  unsigned threads = 2;

  // Bytes read and to be read, over all files. Called on the caller's thread about once a MiB, and
  // at the end.
  kj::Function<void(uint64_t done, uint64_t total)> progress = [](uint64_t, uint64_t) {};

  // Each thread gives way to these after each read.
  const SetsInProgress& sets = SetsInProgress::none();
};

// Reads checkpoint `name` (checkpointName() or ROOT_CHECKPOINT_NAME; symbolic links are followed)
// into `sink`. Throws at any fault, with file, offset, what was expected and what was found; and if
// a file cannot be read (read-fault.h). The sink then has an incomplete part of the checkpoint, not
// to be used.
// Memory: a buffer of 1 MiB per thread, one payload where it is larger, one byte per node of the
// parts being read, 33 bytes per node of the top part.
void readCheckpoint(const kj::ReadableDirectory& directory, kj::StringPtr name,
                    CheckpointSink& sink, CheckpointReadOptions options = {});

}  // namespace ledger
