// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/trie.h"

#include "ledger/hash/default-hashes.h"

#include <kj/debug.h>

namespace ledger {
namespace {

struct StoreAccess {
  const Store& store;

  const InteriorSlot* interior(NodeRef node) const { return &store.nodes.interior(node); }
  const LeafSlot* leaf(NodeRef node) const { return &store.nodes.leaf(node); }
  void prefetch(NodeRef node) const { store.nodes.prefetch(node); }
  void prefetch(PayloadRef record) const {
    const auto* header = store.payloads.view(record).header;
    __builtin_prefetch(header);
    __builtin_prefetch(header->path.bytes.end() - 1);
  }
};

}  // namespace

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
  PayloadRef record;
  KJ_ASSERT(descend(StoreAccess{*nodes}, rootNode, path, record), "a trie's nodes make no sense");
  if (record.isNull()) return nullptr;
  auto payload = nodes->payloads.view(record);
  if (payload.path() != path) return nullptr;
  return payload;
}

void Trie::find(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const PayloadHeader*> out,
                Nearby nearby) const {
  KJ_REQUIRE(paths.size() == out.size(), "as many results as paths", paths.size(), out.size());
  auto arrive = [&](size_t index, PayloadRef record) {
    auto* header = record.isNull() ? nullptr : nodes->payloads.view(record).header;
    out[index] = header != nullptr && header->path == paths[index] ? header : nullptr;
    return true;
  };
  KJ_ASSERT(descend(StoreAccess{*nodes}, rootNode, paths, nearby, arrive),
            "a trie's nodes make no sense");
}

Value Trie::read(const Path& path) const {
  KJ_IF_MAYBE (payload, find(path)) {
    return payload->value();
  }
  return nullptr;
}

}  // namespace ledger
