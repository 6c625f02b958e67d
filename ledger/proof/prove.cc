// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/prove.h"

#include "ledger/proof/plan.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger {

namespace {

constexpr uint64_t BATCH_HEADER_SIZE = PREFIX_SIZE + 4;

// Pieces are small; one thread encodes neighbours until they come to this many proofs.
constexpr size_t PROOFS_AT_ONCE = 64;

// Proofs whose parts are asked for before they are needed: they lie all over memory.
constexpr size_t PROOFS_AHEAD = 2;

void prefetch(const PayloadHeader& payload) {
  constexpr size_t LINES = 4;  // What an ordinary payload has.
  for (size_t line = 0; line < LINES; ++line) {
    __builtin_prefetch(reinterpret_cast<const kj::byte*>(&payload) + 64 * line);
  }
}

void encodePiece(const ProofPiece& piece, const NodeStore& nodes, kj::ArrayPtr<kj::byte> out) {
  ByteWriter writer(out);
  size_t asked = 0;  // Siblings whose memory is on its way, and a few proofs' payloads.
  for (size_t p = 0; p < piece.proofs.size(); ++p) {
    const auto& proof = piece.proofs[p];
    const auto ahead = std::min(piece.proofs.size() - 1, p + PROOFS_AHEAD);
    if (piece.proofs[ahead].payload != nullptr) prefetch(*piece.proofs[ahead].payload);
    const auto until = piece.proofs[ahead].firstSibling + piece.proofs[ahead].siblingCount;
    for (; asked < until; ++asked) {
      if (!piece.siblings[asked].node.isNull()) nodes.prefetch(piece.siblings[asked].node);
    }
    TrieProof full;
    full.steps = proof.steps;
    full.flags = kj::arrayPtr(proof.flags.data(), proof.flags.size());
    full.path = proof.path;
    full.payload = proof.content();
    // They lie in as many nodes.
    kj::byte interims[UINT8_MAX * Interims::ENCODED_SIZE];
    ByteWriter gathered(interims);
    for (uint32_t i = 0; i < proof.siblingCount; ++i) {
      const auto& sibling = piece.siblings[proof.firstSibling + i];
      gathered.u16(Hash::SIZE);
      gathered.bytes(
          (sibling.node.isNull() ? piece.computed[sibling.computed] : nodes.hash(sibling.node))
              .ptr());
    }
    full.interims = Interims(kj::arrayPtr(interims, sizeof(interims) - gathered.remaining()));
    for (uint32_t copy = 0; copy < proof.copies; ++copy) {
      writer.u64(sizeOf(proof));
      encodeProof(writer, full);
    }
  }
  KJ_ASSERT(writer.remaining() == 0);
}

}  // namespace

struct BatchProof::Plan final : public kj::AtomicRefcounted {
  Plan(kj::Own<const Trie> trie, ProofPieces pieces, const ThreadPool& pool)
      : trie(kj::mv(trie)), pieces(kj::mv(pieces)), pool(pool) {
    for (const auto& piece : this->pieces) {
      encodedSize += piece.encodedSize;
      count += piece.count;
    }
  }

  kj::Own<const Trie> trie;
  ProofPieces pieces;
  const ThreadPool& pool;
  uint64_t encodedSize = BATCH_HEADER_SIZE;
  uint32_t count = 0;  // Copies included.
};

BatchProof::BatchProof(kj::Own<const Plan> plan) : plan(kj::mv(plan)) {}
BatchProof::BatchProof(BatchProof&&) noexcept = default;
BatchProof::~BatchProof() noexcept(false) {}

uint64_t BatchProof::encodedSize() const {
  return plan->encodedSize;
}
uint32_t BatchProof::proofCount() const {
  return plan->count;
}

void BatchProof::encode(kj::ArrayPtr<kj::byte> out) const {
  KJ_REQUIRE(out.size() == plan->encodedSize, "the output has another size than the proof");
  ByteWriter writer(out);
  writePrefix(writer, 0, EntityType::TRIE_BATCH_PROOF);
  writer.u32(plan->count);

  struct Share {
    size_t begin, end;  // Of the pieces.
    uint64_t offset;    // In `out`.
    uint64_t length;
  };
  kj::Vector<Share> shares;
  uint64_t offset = BATCH_HEADER_SIZE;
  for (size_t begin = 0; begin < plan->pieces.size();) {
    Share share{begin, begin, offset, 0};
    for (size_t proofs = 0; share.end < plan->pieces.size() && proofs < PROOFS_AT_ONCE;
         ++share.end) {
      proofs += plan->pieces[share.end].proofs.size();
      share.length += plan->pieces[share.end].encodedSize;
    }
    begin = share.end;
    offset += share.length;
    shares.add(share);
  }
  plan->pool.forEach(shares.size(), 1, [&](size_t i, size_t) {
    const auto& share = shares[i];
    auto at = share.offset;
    for (size_t p = share.begin; p < share.end; ++p) {
      const auto& piece = plan->pieces[p];
      encodePiece(piece, plan->trie->store().nodes, out.slice(at, at + piece.encodedSize));
      at += piece.encodedSize;
    }
  });
}

Result<BatchProof> prove(const Trie& trie, kj::ArrayPtr<const Path> paths, const Stop& stop,
                         uint64_t maxEncodedSize, const ThreadPool& pool) {
  auto pieces = planProofs(trie, paths, stop, maxEncodedSize, pool);
  KJ_IF_MAYBE (error, pieces.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto plan = kj::atomicRefcounted<BatchProof::Plan>(
      kj::atomicAddRef(trie), kj::mv(pieces.get<ProofPieces>()), pool);
  if (plan->encodedSize > maxEncodedSize) return proofTooLarge(maxEncodedSize);
  return BatchProof(kj::mv(plan));
}

}  // namespace ledger
