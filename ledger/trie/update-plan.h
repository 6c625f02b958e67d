// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which nodes an update's trie has, and which it shares: decided before any memory is taken and
// before the update is in the log.
//
// The update's paths are sorted once and descend the parent together. Where there are many, they
// part at one depth: each subtrie there is planned on its own, several at a time, and the few nodes
// above them come last.
//
// Which nodes are new is part of the contract: flow-go's checkpoints hold shared nodes once, so
// node identity follows its algorithm object by object, and so do its counters with their drift.
// Source: flow-go's ledger/complete/mtrie/trie (docs/formats.md, "Updates").

#include "ledger/model.h"
#include "ledger/stop.h"
#include "ledger/thread-pool.h"
#include "ledger/trie/trie.h"

#include <kj/vector.h>

namespace ledger {

// One distinct path of an update with its last payload.
struct UpdateEntry {
  const Path* path;
  const Payload* payload;
};

// A child of a planned node: none, a node of the parent trie, or a planned node, by its number. A
// planned node is numbered through all parts.
class PlannedChild {
public:
  PlannedChild() = default;
  static PlannedChild existing(NodeRef node) {
    return PlannedChild(node.isNull() ? 0 : node.slot() | (node.isLeaf() ? LEAF : 0));
  }
  static PlannedChild plannedLeaf(uint64_t number) { return PlannedChild(number | PLANNED | LEAF); }
  static PlannedChild plannedInterior(uint64_t number) { return PlannedChild(number | PLANNED); }

  bool isNull() const { return bits == 0; }
  bool isPlanned() const { return bits & PLANNED; }
  bool isLeaf() const { return bits & LEAF; }
  uint64_t number() const { return bits & ~(PLANNED | LEAF); }  // If isPlanned().
  NodeRef node() const {                                        // If not.
    const auto slot = bits & ~LEAF;
    return bits == 0 ? NodeRef() : isLeaf() ? NodeRef::leaf(slot) : NodeRef::interior(slot);
  }

  // The same, of a part whose first number is not 0 but `base`.
  PlannedChild shifted(uint64_t base) const { return PlannedChild(isPlanned() ? bits + base : bits); }

private:
  static constexpr uint64_t LEAF = uint64_t(1) << 63;
  static constexpr uint64_t PLANNED = uint64_t(1) << 62;

  explicit PlannedChild(uint64_t bits) : bits(bits) {}
  uint64_t bits = 0;
};

struct PlannedNode {
  static constexpr uint32_t NO_ENTRY = ~uint32_t(0);

  uint16_t height;
  bool isLeaf;
  uint32_t entry;      // A leaf of this entry's payload, or NO_ENTRY.
  PlannedChild left;   // Of an interior node. Of a leaf with NO_ENTRY: the existing leaf whose
                       // payload it shares.
  PlannedChild right;  // Of an interior node.
};
static_assert(sizeof(PlannedNode) == 24);

// The nodes below some position, or above all those.
struct PlannedPart {
  uint64_t base = 0;               // The number of nodes[0].
  kj::Vector<PlannedNode> nodes;   // Children before parents.
  kj::Vector<uint32_t> entries;    // That get a leaf here, in the order of their leaves.
  uint64_t leaves = 0;             // Of the nodes.
  unsigned lowest = TRIE_HEIGHT;   // The lowest position that was looked at, by its height.
  Trie::Size change{0, 0};         // Of the trie's counters; wraps.
};

// Thread: one at a time.
class UpdatePlan final {
public:
  // Both must outlive this object.
  UpdatePlan(const Trie& parent, const ThreadPool& pool) : parent(parent), pool(pool) {}
  KJ_DISALLOW_COPY(UpdatePlan);

  // Once. If a path occurs more than once its last payload counts. The arrays' elements must
  // outlive this object. False: `stop` was requested, and this object is of no more use.
  bool run(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads, const Stop& stop);

  // What run() has found out. The last part may have children in all others, which have none in
  // each other.
  kj::ArrayPtr<const UpdateEntry> entries() const { return sorted; }  // Ascending by path.
  kj::ArrayPtr<const PlannedPart> parts() const { return planned; }
  PlannedChild root() const { return top; }
  Trie::Size size() const { return counted; }
  unsigned lowestHeight() const { return lowest; }  // That the update reached.
  uint64_t nodeCount() const { return planned.back().base + planned.back().nodes.size(); }

private:
  void sort(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads);
  unsigned seamDepth() const;

  const Trie& parent;
  const ThreadPool& pool;
  kj::Vector<UpdateEntry> sorted;
  kj::Array<PlannedPart> planned;
  PlannedChild top;
  Trie::Size counted;
  unsigned lowest = TRIE_HEIGHT;
};

}  // namespace ledger
