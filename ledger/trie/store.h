// SPDX-License-Identifier: Apache-2.0
#pragma once
// Nodes and payloads together: who refers to what, and what happens when nobody does.
//
// A node has one reference from each parent node and one from each trie whose root it is; a payload
// has one from each leaf. Dropping the last reference of a node drops those it holds, so
// reclamation is exact: what no trie reaches is free at once.

#include "ledger/trie/node-store.h"
#include "ledger/trie/payload-store.h"

#include <kj/refcount.h>

namespace ledger {

// Thread: every method is const and may be called from any thread.
class Store final : public kj::AtomicRefcounted {
public:
  explicit Store(const shm::MemoryBudget& budget, SegmentSizes sizes = {});

  // What bounds the stores, and should bound the private memory of work on them.
  const kj::Own<const shm::MemoryBudget> budget;
  const NodeStore nodes;
  const PayloadStore payloads;

  // Gives back one reference to `node` (which may be null) and, with the last one, everything below
  // that only it held. Takes time in proportion to what it frees.
  void release(NodeRef node) const;

  // Of the live nodes. Whoever makes leaves counts them; release() counts them off.
  uint64_t liveLeaves() const { return leaves.load(std::memory_order_relaxed); }
  void countLeaves(uint64_t made) const { leaves.fetch_add(made, std::memory_order_relaxed); }

  // Where everything lies that a trie refers to which is there now.
  StoreSegments segments() const { return {nodes.segments(), payloads.segments()}; }

  PayloadView payload(NodeRef leaf) const { return payloads.view(nodes.leaf(leaf).payload); }

private:
  mutable std::atomic<uint64_t> leaves{0};
};

}  // namespace ledger
