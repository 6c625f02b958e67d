// SPDX-License-Identifier: Apache-2.0
#include "client/state-view.h"

#include "ledger/encoding.h"
#include "ledger/path-finder.h"
#include "ledger/trie/descend.h"

#include <kj/debug.h>

#include <cstring>

namespace ledger::client {
namespace {

constexpr uint64_t SLOT_MASK = (uint64_t(1) << NodeRef::SLOT_BITS) - 1;
constexpr uint64_t CACHE_LINE = 64;
constexpr uint64_t LARGE_BYTES = 1 << 20;

template <typename T>
T loadWord(const T& from) {
  return __atomic_load_n(&from, __ATOMIC_RELAXED);
}

Error gone() {
  return makeError(Code::UNAVAILABLE, Reason::UNSPECIFIED,
                   "the view of this state no longer holds: ask the server");
}

kj::Maybe<Error> check(EncodedKey key) {
  if (key.size() > MAX_KEY_SIZE) {
    return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "a key has ", key.size(),
                     " bytes; at most ", MAX_KEY_SIZE, " are allowed");
  }
  return validateKey(key);
}

// For descend().
struct MappedAccess {
  const StateView::Store& store;

  template <typename Slot>
  const Slot* slot(NodeRef node) const {
    const uint64_t segment = node.slot() >> NodeRef::SLOT_BITS;
    if (segment >= store.nodes.size()) return nullptr;
    const uint64_t offset = (node.slot() & SLOT_MASK) * NODE_SLOT_SIZE;
    const auto& memory = store.nodes[segment];
    if (offset + NODE_SLOT_SIZE > memory.size) return nullptr;
    return reinterpret_cast<const Slot*>(memory.begin + offset);
  }
  const InteriorSlot* interior(NodeRef node) const { return slot<InteriorSlot>(node); }
  const LeafSlot* leaf(NodeRef node) const { return slot<LeafSlot>(node); }

  // `left`: bytes of the segment from the record on.
  const PayloadHeader* record(PayloadRef ref, uint64_t& left) const {
    if (ref.segment() >= store.payloads.size() || ref.offset() % 8 != 0) return nullptr;
    const auto& memory = store.payloads[ref.segment()];
    if (ref.offset() >= memory.size) return nullptr;
    left = memory.size - ref.offset();
    if (left < sizeof(PayloadHeader)) return nullptr;
    return reinterpret_cast<const PayloadHeader*>(memory.begin + ref.offset());
  }

  void prefetch(NodeRef node) const {
    const auto* first = slot<kj::byte>(node);
    if (first == nullptr) return;
    __builtin_prefetch(first);
    __builtin_prefetch(first + NODE_SLOT_SIZE - 1);
  }
  void prefetch(PayloadRef ref) const {
    uint64_t left;
    const auto* header = record(ref, left);
    if (header == nullptr) return;
    const auto* bytes = reinterpret_cast<const kj::byte*>(header);
    __builtin_prefetch(bytes);
    // The key and a usual value.
    for (uint64_t at = CACHE_LINE; at < kj::min(left, 4 * CACHE_LINE); at += CACHE_LINE) {
      __builtin_prefetch(bytes + at);
    }
  }
};

}  // namespace

StateView::Standing StateView::standing() const {
  // Not before what was read until now.
  if (!lease->isIntact() || connection->lost.load(std::memory_order_relaxed)) {
    return Standing::TAKEN_BACK;
  }
  // Acquire: whoever has learnt of a newer state finds what it has displaced.
  const bool isHere = __atomic_load_n(store.evictions, __ATOMIC_ACQUIRE) <= store.evictedAbove;
  return isHere ? Standing::CURRENT : Standing::EVICTED;
}

bool StateView::valueOf(PayloadRef ref, const Path& path, Value& out) const {
  out = nullptr;
  if (ref.isNull()) return true;
  uint64_t left;
  const auto* header = MappedAccess{store}.record(ref, left);
  if (header == nullptr) return false;
  if (memcmp(header->path.bytes.data(), path.bytes.data(), path.bytes.size()) != 0) return true;
  const uint64_t keyLength =
      loadWord(header->keyWord) & ~(PayloadHeader::NO_PAYLOAD | PayloadHeader::HAS_CHAIN);
  const uint64_t valueLength = loadWord(header->valueLength);
  if (sizeof(PayloadHeader) + keyLength + valueLength > left) return false;
  const auto* key = reinterpret_cast<const kj::byte*>(header + 1);
  out = Value(key + keyLength, valueLength);
  return true;
}

bool StateView::find(const Path& path, Value& out) const {
  PayloadRef record;
  const auto from = NodeRef::fromBits(store.root);
  return descend(MappedAccess{store}, from, path, record) && valueOf(record, path, out);
}

bool StateView::find(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<Value> out) const {
  KJ_REQUIRE(paths.size() == out.size(), "as many results as paths", paths.size(), out.size());
  return descend(
      MappedAccess{store}, NodeRef::fromBits(store.root), paths, Nearby::NOTHING,
      [&](size_t index, PayloadRef record) { return valueOf(record, paths[index], out[index]); });
}

Result<kj::Array<kj::byte>> StateView::read(EncodedKey key) const {
  KJ_IF_MAYBE (error, check(key)) return kj::mv(*error);
  Value value;
  const bool makesSense = find(pathOf(key), value);
  // Before memory is taken for it: what was taken back may have any length.
  if (value.size() > LARGE_BYTES && standing() == Standing::TAKEN_BACK) return gone();
  kj::Array<kj::byte> copy;
  if (makesSense) copy = kj::heapArray(value);
  if (standing() == Standing::TAKEN_BACK) return gone();
  KJ_REQUIRE(makesSense, "the server's store makes no sense");
  return kj::mv(copy);
}

Result<kj::Array<kj::Array<kj::byte>>> StateView::read(kj::ArrayPtr<const EncodedKey> keys) const {
  for (auto& key : keys) {
    KJ_IF_MAYBE (error, check(key)) return kj::mv(*error);
  }
  auto paths = kj::heapArray<Path>(keys.size());
  pathsOf(keys, paths);
  auto values = kj::heapArray<Value>(keys.size());
  const bool makesSense = find(paths, values);
  if (standing() == Standing::TAKEN_BACK) return gone();
  kj::Array<kj::Array<kj::byte>> copies;
  if (makesSense) {
    copies = KJ_MAP(value, values) {
      return kj::heapArray(value);
    };
  }
  if (standing() == Standing::TAKEN_BACK) return gone();
  KJ_REQUIRE(makesSense, "the server's store makes no sense");
  return kj::mv(copies);
}

}  // namespace ledger::client
