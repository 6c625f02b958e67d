// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/trie.h"

#include "ledger/hash/default-hashes.h"

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

Value Trie::read(const Path& path) const {
  KJ_IF_MAYBE (payload, find(path)) {
    return payload->value();
  }
  return nullptr;
}

}  // namespace ledger
