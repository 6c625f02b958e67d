// SPDX-License-Identifier: Apache-2.0
#pragma once
// Proofs of registers, present or absent, from one trie.
//
// flow-go proves an absent register by a copy of the trie in which it is present with an empty
// value; that copy changes the proofs of its neighbours. Here the copy exists only as positions of
// a descent: all paths are descended together, and the only hashes computed are those of leaves
// that an absent neighbour would push down. Proofs are planned (and so sized) first and then
// encoded once, straight to where they are wanted.
//
// Source: flow-go's ledger/complete/mtrie (docs/formats.md, "Proofs").

#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/stop.h"
#include "ledger/thread-pool.h"
#include "ledger/trie/trie.h"

#include <kj/vector.h>

namespace ledger {

constexpr uint64_t UNLIMITED_PROOF = ~uint64_t(0);

// A batch proof that is ready to be encoded. Holds its trie, borrows the pool it was made with.
// Thread: const methods from any thread.
class BatchProof {
public:
  // Bytes that encode() writes.
  uint64_t encodedSize() const;

  // Writes flow-go's encoding of the batch: `out` must be encodedSize() bytes.
  void encode(kj::ArrayPtr<kj::byte> out) const;

  uint32_t proofCount() const;

  struct Plan;
  explicit BatchProof(kj::Own<const Plan> plan);
  BatchProof(BatchProof&&) noexcept;
  ~BatchProof() noexcept(false);

private:
  kj::Own<const Plan> plan;
};

// One proof for each of `paths`, duplicates included, in ascending order of path. The plan's memory
// is counted against the budget of the trie's store as long as the proof lives. `maxEncodedSize` is
// in bytes. Errors: PROOF_TOO_DEEP, TOO_LARGE, OUT_OF_MEMORY, CANCELLED.
Result<BatchProof> prove(const Trie& trie, kj::ArrayPtr<const Path> paths, const Stop& stop,
                         uint64_t maxEncodedSize = UNLIMITED_PROOF,
                         const ThreadPool& pool = ThreadPool::none());

}  // namespace ledger
