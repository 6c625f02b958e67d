// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/store.h"

#include <kj/vector.h>

namespace ledger {

Store::Store(const shm::MemoryBudget& budget, SegmentSizes sizes)
    : budget(kj::atomicAddRef(budget)),
      nodes(kj::atomicAddRef(budget), sizes),
      payloads(kj::atomicAddRef(budget), sizes) {}

void Store::release(NodeRef node) const {
  if (node.isNull() || !nodes.release(node)) return;
  kj::Vector<NodeRef> unreferenced;
  kj::Vector<uint64_t> freed;
  uint64_t freedLeaves = 0;
  unreferenced.add(node);
  while (unreferenced.size() > 0) {
    auto last = unreferenced.back();
    unreferenced.removeLast();
    if (last.isLeaf()) {
      const auto& leaf = nodes.leaf(last);
      if (!leaf.payload.isNull()) {  // Else it was given up before it was complete.
        payloads.release({leaf.payload, leaf.payloadCounter()});
        ++freedLeaves;
      }
    } else {
      const auto& interior = nodes.interior(last);
      for (auto child : {interior.left, interior.right}) {
        if (!child.isNull() && nodes.release(child)) unreferenced.add(child);
      }
    }
    freed.add(last.slot());
  }
  nodes.free(freed);
  leaves.fetch_sub(freedLeaves, std::memory_order_relaxed);
}

}  // namespace ledger
