// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/plan.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"
#include "ledger/path-order.h"

#include <kj/debug.h>

#include <algorithm>
#include <atomic>
#include <limits>

namespace ledger {

Error proofTooLarge(uint64_t maxEncodedSize) {
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "the proof has more than ",
                   maxEncodedSize, " bytes, the most that may be answered");
}

uint64_t sizeOf(const PlannedProof& proof) {
  TrieProof shape;
  shape.flags = kj::arrayPtr(proof.flags.data(), PROOF_FLAGS_SIZE);
  shape.payload = proof.content();
  return encodedSize(shape) + Interims::ENCODED_SIZE * proof.siblingCount;
}

namespace {

constexpr unsigned MAX_STEPS = 255;  // The format has 8 bits.

// Depth at which large batches part: some 256 pieces.
constexpr unsigned SEAM_DEPTH = 8;
// Batches of fewer paths are planned in one piece.
constexpr size_t PATHS_TO_PART = 256;

// One distinct path.
struct Query {
  const Path* path;
  uint32_t copies;
  uint32_t absentBefore;  // Absent queries before this one.
};

// The queries of a piece, ascending by path, and how many of them are absent.
struct Queries {
  kj::Vector<Query> list;
  uint32_t absent = 0;

  uint32_t absentIn(uint32_t begin, uint32_t end) const {
    auto before = [&](uint32_t i) { return i < list.size() ? list[i].absentBefore : absent; };
    return before(end) - before(begin);
  }
};

// A sibling on the way from the root.
struct Above {
  unsigned depth;
  Sibling sibling;
};

// A position of the trie that is planned on its own, with all that is asked for below it.
struct Task {
  unsigned height;
  NodeRef node;
  kj::ArrayPtr<const Path> paths;  // Ascending.
  kj::Array<Above> above;
};

Error outOfMemory(const shm::Shortage& shortage) {
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::OUT_OF_MEMORY, "the proof ",
                   shortage.describe());
}

// Whether the subtrie at `node`, of this height, has another hash than an empty one: then it is in
// the proofs beside it.
bool isFlagged(const Store& store, NodeRef node, unsigned height) {
  return !node.isNull() && store.nodes.hash(node) != hash::defaultHash(height);
}

// Descends a trie as if every absent path that is asked for were in it with an empty value. Fills
// one piece.
class Planner {
public:
  // `bytesLeft` is what the whole batch may still come to, counted down by all its planners.
  Planner(const Trie& trie, const Stop& stop, uint64_t maxEncodedSize,
          std::atomic<int64_t>& bytesLeft, ProofPiece& piece)
      : trie(trie),
        store(trie.store()),
        stop(stop),
        maxEncodedSize(maxEncodedSize),
        bytesLeft(bytesLeft),
        piece(piece) {}

  kj::Maybe<Error> run(const Task& task) {
    makeQueries(task.paths);
    above.addAll(task.above);
    KJ_IF_MAYBE (error, descend(task.height, task.node, nullptr, 0, queries.list.size())) {
      return kj::mv(*error);
    }
    compute();
    return nullptr;
  }

private:
  // Hashes of one leaf below where it stands: piece.computed[begin, end).
  struct Pushed {
    const PayloadHeader* payload;
    uint32_t begin, end;
  };

  // Looks all paths up, which brings what the descent will need near as well.
  void makeQueries(kj::ArrayPtr<const Path> paths) {
    auto records = kj::heapArray<const PayloadHeader*>(paths.size());
    trie.find(paths, records, Nearby::SIBLINGS);
    queries.list.reserve(paths.size());
    for (size_t i = 0; i < paths.size(); ++i) {
      if (queries.list.size() > 0 && *queries.list.back().path == paths[i]) {
        ++queries.list.back().copies;
        continue;
      }
      queries.list.add(Query{&paths[i], 1, queries.absent});
      if (records[i] == nullptr || records[i]->valueLength == 0) ++queries.absent;
    }
  }

  // Asks the budget for private memory, a MiB at a time for large pieces.
  kj::Maybe<Error> charge(uint64_t bytes) {
    auto& charged = piece.reservation;
    needed += bytes;
    if (needed <= charged.size()) return nullptr;
    auto more = std::max(needed - charged.size(),
                         std::clamp<uint64_t>(charged.size(), 1 << 10, 1 << 20));
    auto reserved = store.budget->reserve(more);
    KJ_IF_MAYBE (shortage, reserved.tryGet<shm::Shortage>()) {
      return outOfMemory(*shortage);
    }
    charged.merge(kj::mv(reserved.get<shm::Reservation>()));
    return nullptr;
  }

  // Queries [begin, end) lie below this position; `current` stands here in the trie; `carried` is a
  // leaf that absent neighbours push down.
  kj::Maybe<Error> descend(unsigned height, NodeRef current, const PayloadHeader* carried,
                           uint32_t begin, uint32_t end) {
    if (begin == end) return nullptr;
    if (stop.requested()) return callCancelled();
    auto absent = queries.absentIn(begin, end);
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
          std::lower_bound(queries.list.begin() + begin, queries.list.begin() + end, leaf.path(),
                           [](const Query& query, const Path& path) { return *query.path < path; });
      bool asked = found != queries.list.begin() + end && *found->path == leaf.path();
      bool isAbsent = leaf.value().size() == 0;
      if (asked && isAbsent) {
        // A stored leaf without a value is kept, with its key, if nothing else is asked for here.
        if (absent == 1) return emit(height, begin, leaf.header);
      } else {
        uint32_t first = piece.computed.size();
        KJ_IF_MAYBE (error, divide(height, {}, {}, leaf.header, begin, end)) {
          return kj::mv(*error);
        }
        KJ_IF_MAYBE (error, charge(PUSHED_BYTES)) return kj::mv(*error);
        pushed.add(Pushed{leaf.header, first, uint32_t(piece.computed.size())});
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
        uint32_t(std::partition_point(queries.list.begin() + begin, queries.list.begin() + end,
                                      [&](const Query& query) { return !query.path->bit(depth); }) -
                 queries.list.begin());
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
      above.add(Above{TRIE_HEIGHT - height, {{}, uint32_t(piece.computed.size())}});
      KJ_IF_MAYBE (error, charge(COMPUTED_BYTES)) return kj::mv(*error);
      piece.computed.add();
      computedHeights.add(height - 1);
    } else if (isFlagged(store, beside, height - 1)) {
      above.add(Above{TRIE_HEIGHT - height, {beside, 0}});
    } else {
      flagged = false;
    }
    auto result = descend(height - 1, node, carried, begin, end);
    if (flagged) above.removeLast();
    return result;
  }

  kj::Maybe<Error> emit(unsigned height, uint32_t query, const PayloadHeader* payload) {
    PlannedProof proof{*queries.list[query].path,
                       payload,
                       uint32_t(piece.siblings.size()),
                       uint16_t(above.size()),
                       uint8_t(TRIE_HEIGHT - height),
                       queries.list[query].copies,
                       {}};
    KJ_IF_MAYBE (error, charge(2 * (sizeof(PlannedProof) + above.size() * sizeof(Sibling)))) {
      return kj::mv(*error);
    }
    for (const auto& step : above) {
      proof.flags[step.depth / 8] |= 0x80 >> step.depth % 8;
      piece.siblings.add(step.sibling);
    }
    piece.count += proof.copies;
    const auto size = (PROOF_LENGTH_SIZE + sizeOf(proof)) * proof.copies;
    piece.encodedSize += size;
    if (bytesLeft.fetch_sub(size, std::memory_order_relaxed) < int64_t(size)) {
      return proofTooLarge(maxEncodedSize);
    }
    piece.proofs.add(proof);
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
    for (size_t i = 0; i < order.size(); ++i) piece.computed[order[i]] = climbed[i];
  }

  // Private memory for a pushed leaf and its jobs, in lists that double as they grow.
  static constexpr uint64_t PUSHED_BYTES =
      2 * (sizeof(Pushed) + sizeof(hash::ChainJob) + sizeof(hash::Message) + sizeof(uint32_t)) +
      sizeof(Hash);
  // Private memory for one hash of a pushed leaf, in all lists, which double as they grow.
  static constexpr uint64_t COMPUTED_BYTES = 2 * (sizeof(Hash) + 2) + sizeof(Hash) + 2 + 4;

  const Trie& trie;
  const Store& store;
  const Stop& stop;
  const uint64_t maxEncodedSize;
  std::atomic<int64_t>& bytesLeft;
  ProofPiece& piece;
  Queries queries;
  uint64_t needed = 0;  // Bytes of the piece's lists; at most what its reservation holds.
  kj::Vector<Above> above;  // Siblings on the way from the root to here.
  kj::Vector<uint16_t> computedHeights;
  kj::Vector<Pushed> pushed;
};

// Cuts the batch at the interior nodes of SEAM_DEPTH, and at whatever ends the way there.
class Partition {
public:
  Partition(const Store& store, unsigned depth) : store(store), lowest(TRIE_HEIGHT - depth) {}

  void descend(unsigned height, NodeRef node, kj::ArrayPtr<const Path> paths) {
    if (paths.size() == 0) return;
    if (height == lowest || node.isNull() || node.isLeaf()) {
      tasks.add(Task{height, node, paths, kj::heapArray<Above>(above.asPtr())});
      return;
    }
    const auto& interior = store.nodes.interior(node);
    const unsigned depth = TRIE_HEIGHT - height;
    auto middle = std::partition_point(paths.begin(), paths.end(),
                                       [&](const Path& path) { return !path.bit(depth); });
    descendBeside(height, interior.left, kj::arrayPtr(paths.begin(), middle), interior.right);
    descendBeside(height, interior.right, kj::arrayPtr(middle, paths.end()), interior.left);
  }

  kj::Vector<Task> tasks;  // Ascending by path.

private:
  void descendBeside(unsigned height, NodeRef node, kj::ArrayPtr<const Path> paths,
                     NodeRef beside) {
    if (paths.size() == 0) return;
    const bool flagged = isFlagged(store, beside, height - 1);
    if (flagged) above.add(Above{TRIE_HEIGHT - height, {beside, 0}});
    descend(height - 1, node, paths);
    if (flagged) above.removeLast();
  }

  const Store& store;
  const unsigned lowest;
  kj::Vector<Above> above;
};

}  // namespace

Result<ProofPieces> planProofs(const Trie& trie, kj::ArrayPtr<const Path> paths, const Stop& stop,
                               uint64_t maxEncodedSize, const ThreadPool& pool) {
  constexpr uint64_t QUERY = sizeof(Path) + 2 * sizeof(Query) + sizeof(const PayloadHeader*) + 32;
  auto reserved = trie.store().budget->reserve(paths.size() * QUERY);
  KJ_IF_MAYBE (shortage, reserved.tryGet<shm::Shortage>()) {
    return outOfMemory(*shortage);
  }
  if (stop.requested()) return callCancelled();
  auto order = orderByPath(paths);
  const auto sorted = KJ_MAP(i, order) { return paths[i]; };

  Partition partition(trie.store(), paths.size() < PATHS_TO_PART ? 0 : SEAM_DEPTH);
  partition.descend(TRIE_HEIGHT, trie.root(), sorted);
  const auto& tasks = partition.tasks;
  ProofPieces pieces = kj::heapArray<ProofPiece>(tasks.size());
  auto errors = kj::heapArray<kj::Maybe<Error>>(tasks.size());
  // Of the tasks that failed the first one: later ones are of no interest, earlier ones may fail
  // otherwise, and the answer must not depend on which thread was faster.
  std::atomic<size_t> firstFailure = tasks.size();
  std::atomic<int64_t> bytesLeft =
      int64_t(std::min<uint64_t>(maxEncodedSize, std::numeric_limits<int64_t>::max()));
  pool.forEach(tasks.size(), 1, [&](size_t i, size_t) {
    if (i > firstFailure) return;
    Planner planner(trie, stop, maxEncodedSize, bytesLeft, pieces[i]);
    errors[i] = planner.run(tasks[i]);
    if (errors[i] == nullptr) return;
    for (size_t first = firstFailure; i < first;) firstFailure.compare_exchange_weak(first, i);
  });
  for (auto& error : errors) {
    KJ_IF_MAYBE (e, error) return kj::mv(*e);
  }
  return kj::mv(pieces);
}

}  // namespace ledger
