// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint-loader.h"

#include "ledger/encoding.h"
#include "ledger/hash/default-hashes.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger {

namespace {

constexpr size_t SLOTS_AT_ONCE = 1024;

[[noreturn]] void outOfMemory(const shm::Shortage& shortage) {
  kj::throwFatalException(
      kj::Exception(kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
                    kj::str("the checkpoint does not fit into memory: ", shortage.describe())));
}

}  // namespace

CheckpointLoader::CheckpointLoader(kj::Own<const Store> store) : store(kj::mv(store)) {}

CheckpointLoader::~CheckpointLoader() noexcept(false) {
  for (auto& part : parts) {
    for (auto slot : part.slots) KJ_ASSERT(store->nodes.release(NodeRef::interior(slot)));
    store->nodes.free(part.slots);
    for (auto node : part.nodes) store->release(node);
  }
}

void CheckpointLoader::begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t trieCount) {
  uint64_t bytes = trieCount * sizeof(Trie);
  for (auto count : nodesPerPart) bytes += (count + 1) * sizeof(NodeRef);
  auto reserved = store->budget->reserve(bytes);
  if (reserved.is<shm::Shortage>()) outOfMemory(reserved.get<shm::Shortage>());
  reservation = kj::mv(reserved.get<shm::Reservation>());
  parts = KJ_MAP(count, nodesPerPart) {
    return Part{kj::heapArray<NodeRef>(count + 1), {}};
  };
  tries.reserve(trieCount);
}

uint64_t CheckpointLoader::takeSlot(Part& part) {
  if (part.slots.size() == 0) {
    auto wanted = std::min<uint64_t>(SLOTS_AT_ONCE, part.nodes.size());
    auto slots = kj::heapArray<uint64_t>(wanted);
    KJ_IF_MAYBE (shortage, store->nodes.allocate(slots)) {
      outOfMemory(*shortage);
    }
    // From the back, so that neighbours in the file are neighbours in memory.
    for (size_t i = slots.size(); i-- > 0;) part.slots.add(slots[i]);
  }
  auto slot = part.slots.back();
  part.slots.removeLast();
  return slot;
}

void CheckpointLoader::leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash,
                            const Path& path, kj::Maybe<Payload> payload) {
  Payload stored{nullptr, nullptr};
  KJ_IF_MAYBE (existing, payload) {
    stored = {storedForm(existing->key), existing->value};
  }
  PayloadStore::Lengths lengths{uint32_t(stored.key.size()), uint32_t(stored.value.size())};
  PayloadHandle record;
  KJ_IF_MAYBE (shortage,
               store->payloads.allocate(kj::arrayPtr(&lengths, 1), kj::arrayPtr(&record, 1))) {
    outOfMemory(*shortage);
  }
  KJ_ON_SCOPE_FAILURE(store->payloads.release(record));
  auto slot = takeSlot(parts[part]);
  store->payloads.write(record.ref, path, stored);
  if (payload == nullptr) {
    store->payloads.writeHeader(record.ref).keyWord |= PayloadHeader::NO_PAYLOAD;
  }
  auto& leaf = store->nodes.writeLeaf(slot);
  leaf.payload = record.ref;
  leaf.meta = record.counter << 16 | height;
  leaf.hash = hash;
  store->countLeaves(1);
  parts[part].nodes[index] = NodeRef::leaf(slot);
}

void CheckpointLoader::interior(unsigned part, uint64_t index, unsigned, const Hash& hash,
                                ChildRef left, ChildRef right) {
  auto slot = takeSlot(parts[part]);
  auto& interior = store->nodes.writeInterior(slot);
  interior.left = adopt(left);
  interior.right = adopt(right);
  interior.hash = hash;
  parts[part].nodes[index] = NodeRef::interior(slot);
}

NodeRef CheckpointLoader::find(ChildRef child) const {
  return child.index == 0 ? NodeRef() : parts[child.part].nodes[child.index];
}

NodeRef CheckpointLoader::adopt(ChildRef child) const {
  auto node = find(child);
  if (!node.isNull()) store->nodes.addRef(node);
  return node;
}

void CheckpointLoader::trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
                            const RootHash& rootHash) {
  auto node = find(root);
  const auto& found = node.isNull() ? hash::defaultHash(TRIE_HEIGHT) : store->nodes.hash(node);
  KJ_REQUIRE(found == rootHash, "a trie record names another hash than its root node has",
             tries.size());
  if (!node.isNull()) store->nodes.addRef(node);
  tries.add(kj::atomicRefcounted<Trie>(kj::atomicAddRef(*store), node,
                                       Trie::Size{registerCount, registerSize}));
}

}  // namespace ledger
