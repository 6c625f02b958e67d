// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counts what a checkpoint holds and, if wanted, computes the hash of every node anew.
//
// Reading takes stored hashes on trust, as flow-go does: a value that was changed together with the
// files' checksums goes unnoticed. Here a leaf's hash must follow from its path and value, an
// interior node's from the stored hashes of its children: so each root hash follows from all that
// is below it. A key is part of no hash.

#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/sink.h"

#include <kj/string.h>
#include <kj/vector.h>

#include <array>

namespace ledger {

// Memory, with RECOMPUTED: 32 bytes per node of the parts being read, 40 per subtrie at height 252.
// Thread: as CheckpointSink demands.
class CheckingSink final : public CheckpointSink {
public:
  enum class Hashes { TRUSTED, RECOMPUTED };

  struct Counts {
    uint64_t leaves = 0;
    uint64_t emptyLeaves = 0;  // Of these, those without a value.
    uint64_t interiors = 0;
    uint64_t payloadBytes = 0;  // Keys and values.
    uint64_t tries = 0;
  };

  // `name` is the checkpoint's, for messages.
  CheckingSink(kj::StringPtr name, Hashes hashes);
  ~CheckingSink() noexcept(false);
  KJ_DISALLOW_COPY(CheckingSink);

  // Complete once readCheckpoint() has returned.
  Counts counts() const;

  // Nodes throw if their hash is wrong, or another node's shortly before, with file and offset.
  void begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t tries) override;
  void leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash, const Path& path,
            kj::Maybe<Payload> payload) override;
  void interior(unsigned part, uint64_t index, unsigned height, const Hash& hash, ChildRef left,
                ChildRef right) override;
  void trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
            const RootHash& rootHash) override;

private:
  class PartHashes;
  const Hash& hashOf(ChildRef child, unsigned height) const;

  const kj::String name;
  const Hashes hashes;
  std::array<Counts, CHECKPOINT_PARTS> countsOf;  // Each entry is one thread's at a time.
  kj::Array<kj::Own<PartHashes>> parts;           // Empty with TRUSTED. Likewise.
};

}  // namespace ledger
