// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint-loader.h"

#include "ledger/encoding.h"
#include "ledger/hash/default-hashes.h"

#include <kj/debug.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace ledger {

namespace {

constexpr size_t SLOTS_AT_ONCE = 1024;

// Leaves that wait for their payload records, and bytes of their keys and values.
constexpr size_t MOST_PENDING = 512;
constexpr size_t MOST_PENDING_BYTES = 256 << 10;

// Places for recent records in a part of so many nodes: a power of two. Of four nodes about one is
// a leaf.
size_t placesFor(uint64_t nodes) {
  return std::bit_ceil(nodes / 4 + 16);
}

// Interior nodes whose children are looked up together: more than the memory system has misses in
// flight, and few enough for the first-level cache.
constexpr size_t PARENTS_AT_ONCE = 32;

bool sameBytes(kj::ArrayPtr<const kj::byte> a, kj::ArrayPtr<const kj::byte> b) {
  return a.size() == b.size() && (a.size() == 0 || memcmp(a.begin(), b.begin(), a.size()) == 0);
}

[[noreturn]] void outOfMemory(const shm::Shortage& shortage) {
  kj::throwFatalException(
      kj::Exception(kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
                    kj::str("the checkpoint does not fit into memory: ", shortage.describe())));
}

}  // namespace

CheckpointLoader::CheckpointLoader(kj::Own<const Store> store) : store(kj::mv(store)) {}

CheckpointLoader::~CheckpointLoader() noexcept(false) {
  for (auto& part : parts) {
    auto unused = part.slots.slice(part.usedSlots, part.slots.size());
    for (auto slot : unused) KJ_ASSERT(store->nodes.release(NodeRef::interior(slot)));
    store->nodes.free(unused);
    for (size_t i = 0; i < part.nodes.size(); ++i) {
      if (!(part.isTaken[i / 64] >> i % 64 & 1)) store->release(part.nodes[i]);
    }
  }
}

kj::Array<kj::Own<const Trie>> CheckpointLoader::takeTries() {
  for (auto& part : parts) complete(part);
  return tries.releaseAsArray();
}

void CheckpointLoader::begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t trieCount) {
  uint64_t bytes = trieCount * sizeof(Trie);
  for (auto count : nodesPerPart) {
    bytes += (count + 1) * sizeof(NodeRef) + (count / 64 + 1) * sizeof(uint64_t);
    bytes += MOST_PENDING * sizeof(Pending) + MOST_PENDING_BYTES;
    bytes += placesFor(count) * sizeof(PayloadHandle);
  }
  auto reserved = store->budget->reserve(bytes);
  if (reserved.is<shm::Shortage>()) outOfMemory(reserved.get<shm::Shortage>());
  reservation = kj::mv(reserved.get<shm::Reservation>());
  parts = KJ_MAP(count, nodesPerPart) {
    Part part;
    part.nodes.reserve(count + 1);
    part.nodes.add();
    part.isTaken = kj::heapArray<uint64_t>(count / 64 + 1);
    for (auto& word : part.isTaken) word = 0;
    part.recent = kj::heapArray<PayloadHandle>(placesFor(count));
    return part;
  };
  tries.reserve(trieCount);
}

uint64_t CheckpointLoader::takeSlot(Part& part) {
  if (part.usedSlots == part.slots.size()) {
    auto slots = kj::heapArray<uint64_t>(std::min<uint64_t>(SLOTS_AT_ONCE, part.nodes.capacity()));
    KJ_IF_MAYBE (shortage, store->nodes.allocate(slots)) {
      outOfMemory(*shortage);
    }
    part.slots = kj::mv(slots);
    part.usedSlots = 0;
  }
  return part.slots[part.usedSlots++];
}

void CheckpointLoader::leaf(unsigned number, uint64_t index, unsigned height, const Hash& hash,
                            const Path& path, kj::Maybe<Payload> payload) {
  auto& part = parts[number];
  Payload stored{nullptr, nullptr};
  KJ_IF_MAYBE (existing, payload) {
    stored = {storedForm(existing->key), existing->value};
  }
  auto slot = takeSlot(part);
  auto& leaf = store->nodes.writeLeaf(slot);
  leaf.payload = {};
  leaf.meta = height;
  leaf.hash = hash;
  KJ_ASSERT(part.nodes.size() == index);
  part.nodes.add(NodeRef::leaf(slot));

  const uint64_t size = stored.key.size() + stored.value.size();
  if (part.pending.size() == MOST_PENDING || part.payloadBytes.size() + size > MOST_PENDING_BYTES) {
    writePending(part);
  }
  Pending pending{slot, path, payload != nullptr,
                  {uint32_t(stored.key.size()), uint32_t(stored.value.size())}, {}};
  __builtin_prefetch(&recentOf(part, path));
  if (size > MOST_PENDING_BYTES) {
    writeRecords(part, kj::arrayPtr(&pending, 1), kj::arrayPtr(&stored, 1));
  } else {
    part.pending.add(pending);
    part.payloadBytes.addAll(stored.key);
    part.payloadBytes.addAll(stored.value);
  }
}

void CheckpointLoader::writePending(Part& part) {
  if (part.pending.size() == 0) return;
  const kj::byte* bytes = part.payloadBytes.begin();
  auto payloads = KJ_MAP(leaf, part.pending) {
    Payload payload{kj::arrayPtr(bytes, leaf.lengths.key),
                    kj::arrayPtr(bytes + leaf.lengths.key, leaf.lengths.value)};
    bytes = payload.value.end();
    return payload;
  };
  shareRecords(part, payloads);
  writeRecords(part, part.pending, payloads);
  part.pending.clear();
  part.payloadBytes.clear();
}

// Of a subtrie part's paths the first four bits are the part's number, those after them are random.
PayloadHandle& CheckpointLoader::recentOf(Part& part, const Path& path) const {
  uint64_t word;
  memcpy(&word, path.bytes.data() + 1, sizeof(word));
  return part.recent[word & (part.recent.size() - 1)];
}

// Finds the pending leaves whose record is there already, byte for byte.
void CheckpointLoader::shareRecords(Part& part, kj::ArrayPtr<const Payload> payloads) {
  for (auto& leaf : part.pending) {
    leaf.shared = recentOf(part, leaf.path);
    if (!leaf.shared.ref.isNull()) {
      __builtin_prefetch(store->payloads.view(leaf.shared.ref).header);
    }
  }
  for (size_t i = 0; i < payloads.size(); ++i) {
    auto& leaf = part.pending[i];
    if (!isRecordOf(leaf.shared, leaf, payloads[i])) leaf.shared = {};
  }
}

bool CheckpointLoader::isRecordOf(PayloadHandle handle, const Pending& leaf,
                                  const Payload& payload) const {
  if (handle.ref.isNull()) return false;
  const auto record = store->payloads.view(handle.ref);
  return record.path() == leaf.path && record.exists() == leaf.exists &&
         sameBytes(record.key(), payload.key) && sameBytes(record.value(), payload.value);
}

void CheckpointLoader::writeRecords(Part& part, kj::ArrayPtr<const Pending> leaves,
                                    kj::ArrayPtr<const Payload> payloads) {
  kj::Vector<PayloadStore::Lengths> lengths(leaves.size());
  for (const auto& leaf : leaves) {
    if (leaf.shared.ref.isNull()) lengths.add(leaf.lengths);
  }
  auto records = kj::heapArray<PayloadHandle>(lengths.size());
  KJ_IF_MAYBE (shortage, store->payloads.allocate(lengths, records)) {
    outOfMemory(*shortage);
  }
  const auto* next = records.begin();
  for (size_t i = 0; i < leaves.size(); ++i) {
    auto record = leaves[i].shared;
    auto& recent = recentOf(part, leaves[i].path);
    if (record.ref.isNull()) {
      record = *next++;
      if (isRecordOf(recent, leaves[i], payloads[i])) {  // Of a leaf shortly before.
        store->payloads.release(record);
        record = recent;
        store->payloads.addRef(record.counter);
      } else {
        recent = record;
        store->payloads.write(record.ref, leaves[i].path, payloads[i]);
        if (!leaves[i].exists) {
          store->payloads.writeHeader(record.ref).keyWord |= PayloadHeader::NO_PAYLOAD;
        }
      }
    } else {
      store->payloads.addRef(record.counter);
    }
    auto& leaf = store->nodes.writeLeaf(leaves[i].slot);
    leaf.meta |= record.counter << 16;
    leaf.payload = record.ref;
  }
  store->countLeaves(leaves.size());
}

void CheckpointLoader::interior(unsigned number, uint64_t index, unsigned, const Hash& hash,
                                ChildRef left, ChildRef right) {
  auto& part = parts[number];
  auto slot = takeSlot(part);
  auto& interior = store->nodes.writeInterior(slot);
  interior.left = interior.right = {};
  interior.hash = hash;
  KJ_ASSERT(part.nodes.size() == index);
  part.nodes.add(NodeRef::interior(slot));
  for (auto child : {left, right}) {
    if (child.isNil()) continue;
    auto& from = parts[child.part];
    __builtin_prefetch(&from.nodes[child.index]);
    __builtin_prefetch(&from.isTaken[child.index / 64]);
  }
  part.parents.add(Parent{slot, left, right});
  if (part.parents.size() == PARENTS_AT_ONCE) writeChildren(part);
}

void CheckpointLoader::writeChildren(Part& part) {
  kj::Vector<NodeRef> shared(2 * PARENTS_AT_ONCE);
  for (const auto& parent : part.parents) {
    auto& interior = store->nodes.writeInterior(parent.slot);
    interior.left = adopt(parent.left, shared);
    interior.right = adopt(parent.right, shared);
  }
  for (auto node : shared) store->nodes.addRef(node);
  part.parents.clear();
}

void CheckpointLoader::complete(Part& part) {
  writeChildren(part);
  writePending(part);
}

NodeRef CheckpointLoader::find(ChildRef child) const {
  return child.index == 0 ? NodeRef() : parts[child.part].nodes[child.index];
}

// A reference to the child for a parent: the one that its slot began with, if that is still ours.
// Else `shared` gets the child, whose counter is on its way, and the caller counts.
NodeRef CheckpointLoader::adopt(ChildRef child, kj::Vector<NodeRef>& shared) {
  auto node = find(child);
  if (node.isNull()) return node;
  auto& word = parts[child.part].isTaken[child.index / 64];
  const uint64_t bit = uint64_t(1) << child.index % 64;
  if (word & bit) {
    store->nodes.prefetchReferences(node);
    shared.add(node);
  } else {
    word |= bit;
  }
  return node;
}

void CheckpointLoader::trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
                            const RootHash& rootHash) {
  auto node = find(root);
  const auto& found = node.isNull() ? hash::defaultHash(TRIE_HEIGHT) : store->nodes.hash(node);
  KJ_REQUIRE(found == rootHash, "a trie record names another hash than its root node has",
             tries.size());
  kj::Vector<NodeRef> shared;
  adopt(root, shared);
  for (auto again : shared) store->nodes.addRef(again);
  tries.add(kj::atomicRefcounted<Trie>(kj::atomicAddRef(*store), node,
                                       Trie::Size{registerCount, registerSize}));
}

}  // namespace ledger
