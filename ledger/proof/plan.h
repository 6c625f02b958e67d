// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a batch of proofs consists of, before it is encoded: found in one descent of all paths, in
// pieces that stand for themselves, so that several threads can plan and encode them.

#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/proof/batch.h"
#include "ledger/stop.h"
#include "ledger/thread-pool.h"
#include "ledger/trie/trie.h"

#include <kj/array.h>
#include <kj/vector.h>

#include <array>

namespace ledger {

// A hash beside a path: that of a node, or that of a leaf at a height where the trie has none.
struct Sibling {
  NodeRef node;       // Null: see `computed`.
  uint32_t computed;  // Index into ProofPiece::computed.
};

struct PlannedProof {
  Path path;
  const PayloadHeader* payload;  // Null: an absent register.
  uint32_t firstSibling;         // In ProofPiece::siblings.
  uint16_t siblingCount;
  uint8_t steps;
  uint32_t copies;  // How often the path was asked for.
  std::array<kj::byte, PROOF_FLAGS_SIZE> flags;

  Payload content() const {
    if (payload == nullptr) return {nullptr, nullptr};
    PayloadView view{payload};
    return {view.key(), view.value()};
  }
};

// Neighbouring proofs.
struct ProofPiece {
  shm::Reservation reservation;     // Of what follows, and of the planner's own lists.
  kj::Vector<PlannedProof> proofs;  // Ascending by path.
  kj::Vector<Sibling> siblings;
  kj::Vector<Hash> computed;
  uint64_t encodedSize = 0;  // Bytes, with the lengths before the proofs.
  uint32_t count = 0;        // Copies included.
};

using ProofPieces = kj::Array<ProofPiece>;

// The proofs of `paths` in `trie`, ascending by path through all pieces. Errors: as prove();
// `maxEncodedSize` is held against all proofs, without the batch's header.
Result<ProofPieces> planProofs(const Trie& trie, kj::ArrayPtr<const Path> paths, const Stop& stop,
                               uint64_t maxEncodedSize, const ThreadPool& pool);

// The refusal of a batch of more bytes than that.
Error proofTooLarge(uint64_t maxEncodedSize);

// Bytes of a proof in the batch, without the length before it.
uint64_t sizeOf(const PlannedProof& proof);
constexpr uint64_t PROOF_LENGTH_SIZE = 8;

}  // namespace ledger
