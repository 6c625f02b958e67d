// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a trie's root to the records of registers: over the engine's own store, or over segments
// that a peer has mapped and need not believe (client/state-view.h).
//
// Access says where things lie:
//   const InteriorSlot* interior(NodeRef) const;   // Null: there is no such slot.
//   const LeafSlot* leaf(NodeRef) const;           // Likewise.
//   void prefetch(NodeRef) const;                  // Neither kind nor slot need make sense.
//   void prefetch(PayloadRef) const;               // Likewise.

#include "ledger/trie/format.h"

#include <kj/array.h>
#include <kj/common.h>

#include <utility>

namespace ledger {

// One read: what a peer's store holds may change meanwhile.
inline NodeRef load(const NodeRef& from) {
  NodeRef result;
  __atomic_load(&from, &result, __ATOMIC_RELAXED);
  return result;
}
inline PayloadRef load(const PayloadRef& from) {
  PayloadRef result;
  __atomic_load(&from, &result, __ATOMIC_RELAXED);
  return result;
}

// The record of the only leaf that can hold the register at `path`; null: there is none. False:
// the nodes make no sense.
template <typename Access>
bool descend(const Access& access, NodeRef root, const Path& path, PayloadRef& out) {
  auto node = root;
  for (unsigned depth = 0; !node.isNull(); ++depth) {
    if (node.isLeaf()) {
      const LeafSlot* leaf = access.leaf(node);
      if (leaf == nullptr) return false;
      out = load(leaf->payload);
      return !out.isNull();
    }
    const InteriorSlot* interior = access.interior(node);
    if (interior == nullptr || depth == TRIE_HEIGHT) return false;
    node = load(path.bit(depth) ? interior->right : interior->left);
  }
  out = PayloadRef();
  return true;
}

// Whether the memory of the nodes beside the ways is asked for as well.
enum class Nearby { NOTHING, SIBLINGS };

// The same for many paths. The descents go side by side, so that each waits for memory while others
// move: several times as fast as one after the other. Calls arrive(index, record) for each of them,
// when the record's memory is on its way; it says whether that makes sense.
template <typename Access, typename Arrive>
bool descend(const Access& access, NodeRef root, kj::ArrayPtr<const Path> paths, Nearby nearby,
             Arrive&& arrive) {
  struct Descent {
    size_t index;       // Of the path.
    NodeRef node;       // Where it stands; its memory has been asked for.
    unsigned depth;     // Of `node`.
    PayloadRef record;  // Of the leaf it has come to; asked for as well. Null before.
  };
  constexpr size_t SIDE_BY_SIDE = 16;  // About as many as a core can have misses under way.
  Descent descents[SIDE_BY_SIDE];
  size_t count = 0, next = 0;
  while (count < SIDE_BY_SIDE && next < paths.size()) {
    descents[count++] = {next++, root, 0, PayloadRef()};
  }

  while (count > 0) {
    for (size_t i = 0; i < count;) {
      auto& descent = descents[i];
      if (descent.record.isNull() && !descent.node.isNull()) {
        if (descent.node.isLeaf()) {
          const LeafSlot* leaf = access.leaf(descent.node);
          if (leaf == nullptr) return false;
          descent.record = load(leaf->payload);
          if (descent.record.isNull()) return false;
          access.prefetch(descent.record);
        } else {
          const InteriorSlot* interior = access.interior(descent.node);
          if (interior == nullptr || descent.depth == TRIE_HEIGHT) return false;
          auto [node, beside] = std::pair(load(interior->left), load(interior->right));
          if (paths[descent.index].bit(descent.depth++)) std::swap(node, beside);
          if (nearby == Nearby::SIBLINGS && !beside.isNull()) access.prefetch(beside);
          descent.node = node;
          if (!descent.node.isNull()) access.prefetch(descent.node);
        }
        ++i;
        continue;
      }
      if (!arrive(descent.index, descent.record)) return false;
      // The next path takes its place, or else the last descent does.
      descent = next < paths.size() ? Descent{next++, root, 0, PayloadRef()} : descents[--count];
    }
  }
  return true;
}

}  // namespace ledger
