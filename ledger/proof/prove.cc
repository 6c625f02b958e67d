// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/prove.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"
#include "ledger/proof/batch.h"

#include <kj/debug.h>

#include <algorithm>
#include <array>

namespace ledger {

namespace {

constexpr size_t FLAG_BYTES = PROOF_FLAGS_SIZE;
constexpr uint64_t BATCH_HEADER_SIZE = PREFIX_SIZE + 4;
constexpr uint64_t PROOF_LENGTH_SIZE = 8;
constexpr unsigned MAX_STEPS = 255;  // The format has 8 bits.

// A hash beside a path: that of a node, or that of a leaf at a height where the trie has none.
struct Sibling {
  NodeRef node;       // Null: see `computed`.
  uint32_t computed;  // Index into Plan::computed.
};

struct PlannedProof {
  Path path;
  const PayloadHeader* payload;  // Null: an absent register.
  uint32_t firstSibling;
  uint16_t siblingCount;
  uint8_t steps;
  uint32_t copies;  // How often the path was asked for.
  std::array<kj::byte, FLAG_BYTES> flags;

  Payload content() const {
    if (payload == nullptr) return {nullptr, nullptr};
    PayloadView view{payload};
    return {view.key(), view.value()};
  }
};

// Bytes of a proof in the batch, without the length before it.
uint64_t sizeOf(const PlannedProof& proof) {
  TrieProof shape;
  shape.flags = kj::arrayPtr(proof.flags.data(), FLAG_BYTES);
  shape.payload = proof.content();
  return encodedSize(shape) + Interims::ENCODED_SIZE * proof.siblingCount;
}

}  // namespace

struct BatchProof::Plan final : public kj::AtomicRefcounted {
  explicit Plan(kj::Own<const Trie> trie) : trie(kj::mv(trie)) {}

  kj::Own<const Trie> trie;
  shm::Reservation reservation;     // Of what follows, and of the planner's own lists.
  kj::Vector<PlannedProof> proofs;  // Ascending by path.
  kj::Vector<Sibling> siblings;
  kj::Vector<Hash> computed;
  uint64_t encodedSize = BATCH_HEADER_SIZE;
  uint32_t count = 0;  // Copies included.
};

namespace {

// Descends a trie as if every absent path that is asked for were in it with an empty value.
class Planner {
public:
  Planner(BatchProof::Plan& plan, const Stop& stop, uint64_t maxEncodedSize)
      : plan(plan), store(plan.trie->store()), stop(stop), maxEncodedSize(maxEncodedSize) {}

  kj::Maybe<Error> run(kj::ArrayPtr<const Path> paths) {
    KJ_IF_MAYBE (error,
                 charge(paths.size() * (sizeof(Path) + 2 * sizeof(Query) + sizeof(PlannedProof)))) {
      return kj::mv(*error);
    }
    sorted = kj::heapArray<Path>(paths);
    std::sort(sorted.begin(), sorted.end());
    for (const auto& path : sorted) {
      if (queries.size() > 0 && *queries.back().path == path) {
        ++queries.back().copies;
        continue;
      }
      if (stop.requested()) return callCancelled();
      bool absent = plan.trie->read(path).size() == 0;
      queries.add(Query{&path, 1, absentBefore});
      if (absent) ++absentBefore;
    }
    plan.proofs.reserve(queries.size());
    KJ_IF_MAYBE (error, descend(TRIE_HEIGHT, plan.trie->root(), nullptr, 0, queries.size())) {
      return kj::mv(*error);
    }
    compute();
    return nullptr;
  }

private:
  struct Query {
    const Path* path;
    uint32_t copies;
    uint32_t absentBefore;  // Absent queries before this one.
  };
  // Hashes of one leaf below where it stands: plan.computed[begin, end).
  struct Pushed {
    const PayloadHeader* payload;
    uint32_t begin, end;
  };

  // Asks the budget for private memory, a MiB at a time.
  kj::Maybe<Error> charge(uint64_t bytes) {
    charged += bytes;
    if (charged <= plan.reservation.size()) return nullptr;
    auto reserved =
        store.budget->reserve(std::max(charged - plan.reservation.size(), uint64_t(1) << 20));
    KJ_IF_MAYBE (shortage, reserved.tryGet<shm::Shortage>()) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::OUT_OF_MEMORY, "the proof ",
                       shortage->describe());
    }
    plan.reservation.merge(kj::mv(reserved.get<shm::Reservation>()));
    return nullptr;
  }

  uint32_t absentIn(uint32_t begin, uint32_t end) const {
    auto before = [&](uint32_t i) {
      return i < queries.size() ? queries[i].absentBefore : absentBefore;
    };
    return before(end) - before(begin);
  }

  // Queries [begin, end) lie below this position; `current` stands here in the trie; `carried` is a
  // leaf that absent neighbours push down.
  kj::Maybe<Error> descend(unsigned height, NodeRef current, const PayloadHeader* carried,
                           uint32_t begin, uint32_t end) {
    if (begin == end) return nullptr;
    if (stop.requested()) return callCancelled();
    auto absent = absentIn(begin, end);
    if (absent == 0 && carried != nullptr) return emit(height, begin, carried);
    if (absent == 0 && current.isLeaf()) {
      return emit(height, begin, store.payload(current).header);
    }
    if (absent == 1 && current.isNull() && carried == nullptr) {
      return emit(height, begin, nullptr);
    }

    NodeRef left, right;
    if (current.isLeaf()) {
      auto leaf = store.payload(current);
      auto found =
          std::lower_bound(queries.begin() + begin, queries.begin() + end, leaf.path(),
                           [](const Query& query, const Path& path) { return *query.path < path; });
      bool asked = found != queries.begin() + end && *found->path == leaf.path();
      bool isAbsent = leaf.value().size() == 0;
      if (asked && isAbsent) {
        // A stored leaf without a value is kept, with its key, if nothing else is asked for here.
        if (absent == 1) return emit(height, begin, leaf.header);
      } else {
        uint32_t first = plan.computed.size();
        KJ_IF_MAYBE (error, divide(height, {}, {}, leaf.header, begin, end)) {
          return kj::mv(*error);
        }
        pushed.add(Pushed{leaf.header, first, uint32_t(plan.computed.size())});
        return nullptr;
      }
    } else if (!current.isNull()) {
      const auto& interior = store.nodes.interior(current);
      left = interior.left;
      right = interior.right;
    }
    return divide(height, left, right, carried, begin, end);
  }

  // An interior node, of the trie or only thought of, with these children.
  kj::Maybe<Error> divide(unsigned height, NodeRef left, NodeRef right,
                          const PayloadHeader* carried, uint32_t begin, uint32_t end) {
    unsigned depth = TRIE_HEIGHT - height;
    if (depth >= MAX_STEPS) {
      return makeError(Code::FAILED_PRECONDITION, Reason::PROOF_TOO_DEEP, "a proof of more than ",
                       MAX_STEPS,
                       " steps does not fit the format: two registers share too long a path");
    }
    auto middle =
        uint32_t(std::partition_point(queries.begin() + begin, queries.begin() + end,
                                      [&](const Query& query) { return !query.path->bit(depth); }) -
                 queries.begin());
    bool carriedRight = carried != nullptr && carried->path.bit(depth);
    bool carriedLeft = carried != nullptr && !carriedRight;
    KJ_IF_MAYBE (error, descendBeside(height, left, carriedLeft ? carried : nullptr, begin, middle,
                                      right, carriedRight ? carried : nullptr)) {
      return kj::mv(*error);
    }
    return descendBeside(height, right, carriedRight ? carried : nullptr, middle, end, left,
                         carriedLeft ? carried : nullptr);
  }

  // Descends into the child at `node`, whose sibling is `beside` (with a carried leaf or not).
  kj::Maybe<Error> descendBeside(unsigned height, NodeRef node, const PayloadHeader* carried,
                                 uint32_t begin, uint32_t end, NodeRef beside,
                                 const PayloadHeader* carriedBeside) {
    if (begin == end) return nullptr;
    bool flagged = true;
    if (carriedBeside != nullptr && carriedBeside->valueLength > 0) {
      above.add(Above{TRIE_HEIGHT - height, {{}, uint32_t(plan.computed.size())}});
      KJ_IF_MAYBE (error, charge(COMPUTED_BYTES)) return kj::mv(*error);
      plan.computed.add();
      computedHeights.add(height - 1);
    } else if (!beside.isNull() && store.nodes.hash(beside) != hash::defaultHash(height - 1)) {
      above.add(Above{TRIE_HEIGHT - height, {beside, 0}});
    } else {
      flagged = false;
    }
    auto result = descend(height - 1, node, carried, begin, end);
    if (flagged) above.removeLast();
    return result;
  }

  kj::Maybe<Error> emit(unsigned height, uint32_t query, const PayloadHeader* payload) {
    PlannedProof proof{*queries[query].path,
                       payload,
                       uint32_t(plan.siblings.size()),
                       uint16_t(above.size()),
                       uint8_t(TRIE_HEIGHT - height),
                       queries[query].copies,
                       {}};
    KJ_IF_MAYBE (error, charge(2 * above.size() * sizeof(Sibling))) return kj::mv(*error);
    for (const auto& step : above) {
      proof.flags[step.depth / 8] |= 0x80 >> step.depth % 8;
      plan.siblings.add(step.sibling);
    }
    plan.count += proof.copies;
    plan.encodedSize += (PROOF_LENGTH_SIZE + sizeOf(proof)) * proof.copies;
    if (plan.encodedSize > maxEncodedSize) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "the proof has more than ",
                       maxEncodedSize, " bytes, the most that may be answered");
    }
    plan.proofs.add(proof);
    return nullptr;
  }

  // Fills in the hashes of leaves that were pushed down.
  void compute() {
    kj::Vector<hash::ChainJob> jobs;
    kj::Vector<hash::Message> messages;
    kj::Vector<uint32_t> fromBottom;  // Jobs that start from messages[i]'s hash.
    // A chain climbs; the descent met its heights in another order.
    auto order = kj::heapArray<uint32_t>(computedHeights.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    auto heights = kj::heapArray<uint16_t>(computedHeights.size());
    auto climbed = kj::heapArray<Hash>(computedHeights.size());
    for (const auto& leaf : pushed) {
      if (leaf.begin == leaf.end) continue;
      std::sort(order.begin() + leaf.begin, order.begin() + leaf.end,
                [&](uint32_t a, uint32_t b) { return computedHeights[a] < computedHeights[b]; });
      for (auto i = leaf.begin; i < leaf.end; ++i) heights[i] = computedHeights[order[i]];
      PayloadView view{leaf.payload};
      hash::ChainJob job{
          &view.path(), {}, 0, heights.slice(leaf.begin, leaf.end), &climbed[leaf.begin]};
      auto chain = view.chainHash();
      if (chain != nullptr && heights[leaf.begin] >= CHAIN_HEIGHT) {
        job.start = KJ_ASSERT_NONNULL(chain);
        job.from = CHAIN_HEIGHT;
      } else {
        fromBottom.add(jobs.size());
        messages.add(hash::Message{view.path().ptr(), view.value()});
      }
      jobs.add(job);
    }
    auto bottoms = kj::heapArray<Hash>(messages.size());
    hash::sha3(messages, bottoms);
    for (size_t i = 0; i < bottoms.size(); ++i) jobs[fromBottom[i]].start = bottoms[i];
    hash::runChains(jobs);
    for (size_t i = 0; i < order.size(); ++i) plan.computed[order[i]] = climbed[i];
  }

  struct Above {
    unsigned depth;
    Sibling sibling;
  };

  // Private memory for one hash of a pushed leaf, in all lists, which double as they grow.
  static constexpr uint64_t COMPUTED_BYTES = 2 * (sizeof(Hash) + 2) + sizeof(Hash) + 2 + 4;

  BatchProof::Plan& plan;
  const Store& store;
  const Stop& stop;
  const uint64_t maxEncodedSize;
  uint64_t charged = 0;  // Bytes; at most what plan.reservation holds.
  kj::Array<Path> sorted;
  kj::Vector<Query> queries;
  uint32_t absentBefore = 0;
  kj::Vector<Above> above;  // Siblings on the way from the root to here.
  kj::Vector<uint16_t> computedHeights;
  kj::Vector<Pushed> pushed;
};

}  // namespace

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
  const auto& nodes = plan->trie->store().nodes;
  ByteWriter writer(out);
  writePrefix(writer, 0, EntityType::TRIE_BATCH_PROOF);
  writer.u32(plan->count);
  for (const auto& proof : plan->proofs) {
    TrieProof full;
    full.steps = proof.steps;
    full.flags = kj::arrayPtr(proof.flags.data(), FLAG_BYTES);
    full.path = proof.path;
    full.payload = proof.content();
    // They lie in as many nodes.
    kj::byte interims[MAX_STEPS * Interims::ENCODED_SIZE];
    ByteWriter gathered(interims);
    for (uint32_t i = 0; i < proof.siblingCount; ++i) {
      const auto& sibling = plan->siblings[proof.firstSibling + i];
      gathered.u16(Hash::SIZE);
      gathered.bytes(
          (sibling.node.isNull() ? plan->computed[sibling.computed] : nodes.hash(sibling.node))
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

Result<BatchProof> prove(const Trie& trie, kj::ArrayPtr<const Path> paths, const Stop& stop,
                         uint64_t maxEncodedSize) {
  auto plan = kj::atomicRefcounted<BatchProof::Plan>(kj::atomicAddRef(trie));
  Planner planner(*plan, stop, maxEncodedSize);
  KJ_IF_MAYBE (error, planner.run(paths)) {
    return kj::mv(*error);
  }
  return BatchProof(kj::mv(plan));
}

}  // namespace ledger
