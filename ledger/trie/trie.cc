// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/trie.h"

#include "ledger/hash/default-hashes.h"

#include <kj/debug.h>

#include <utility>

namespace ledger {

Trie::Trie(kj::Own<const Store> store, NodeRef root, Size size)
    : nodes(kj::mv(store)),
      rootNode(root),
      hash(root.isNull() ? hash::defaultHash(TRIE_HEIGHT) : nodes->nodes.hash(root)),
      counted(size) {}

Trie::~Trie() noexcept(false) {
  nodes->release(rootNode);
}

kj::Own<const Trie> Trie::empty(kj::Own<const Store> store) {
  return kj::atomicRefcounted<Trie>(kj::mv(store), NodeRef(), Size());
}

kj::Maybe<PayloadView> Trie::find(const Path& path) const {
  auto node = rootNode;
  for (unsigned depth = 0; !node.isNull() && !node.isLeaf(); ++depth) {
    const auto& interior = nodes->nodes.interior(node);
    node = path.bit(depth) ? interior.right : interior.left;
  }
  if (node.isNull()) return nullptr;
  auto payload = nodes->payload(node);
  if (payload.path() != path) return nullptr;
  return payload;
}

void Trie::find(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const PayloadHeader*> out,
                Nearby nearby) const {
  KJ_REQUIRE(paths.size() == out.size(), "as many results as paths", paths.size(), out.size());
  struct Descent {
    size_t index;                 // Of the path.
    NodeRef node;                 // Where it stands; its memory has been asked for.
    unsigned depth;               // Of `node`.
    const PayloadHeader* record;  // Of the leaf it has come to; asked for as well. Null before.
  };
  constexpr size_t SIDE_BY_SIDE = 16;  // About as many as a core can have misses under way.
  const auto& store = *nodes;
  Descent descents[SIDE_BY_SIDE];
  size_t count = 0, next = 0;
  while (count < SIDE_BY_SIDE && next < paths.size()) {
    descents[count++] = {next++, rootNode, 0, nullptr};
  }

  while (count > 0) {
    for (size_t i = 0; i < count;) {
      auto& descent = descents[i];
      const auto& path = paths[descent.index];
      if (descent.record == nullptr && !descent.node.isNull()) {
        if (descent.node.isLeaf()) {
          descent.record = store.payload(descent.node).header;
          __builtin_prefetch(descent.record);
          __builtin_prefetch(descent.record->path.bytes.end() - 1);
        } else {
          const auto& interior = store.nodes.interior(descent.node);
          auto [node, beside] = std::pair(interior.left, interior.right);
          if (path.bit(descent.depth++)) std::swap(node, beside);
          if (nearby == Nearby::SIBLINGS && !beside.isNull()) store.nodes.prefetch(beside);
          descent.node = node;
          if (!descent.node.isNull()) store.nodes.prefetch(descent.node);
        }
        ++i;
        continue;
      }
      const bool found = descent.record != nullptr && descent.record->path == path;
      out[descent.index] = found ? descent.record : nullptr;
      // The next path takes its place, or else the last descent does.
      descent = next < paths.size() ? Descent{next++, rootNode, 0, nullptr} : descents[--count];
    }
  }
}

Value Trie::read(const Path& path) const {
  KJ_IF_MAYBE (payload, find(path)) {
    return payload->value();
  }
  return nullptr;
}

}  // namespace ledger
