// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/writer-nodes.h"

#include "ledger/checkpoint/format.h"
#include "ledger/encoding.h"

#include <kj/debug.h>

#include <array>
#include <cstring>

namespace ledger {
namespace {

constexpr size_t FIRST_ENTRIES = 64;
constexpr uint64_t NODES_BETWEEN_LOOKS = 1024;  // At `stop`.

// Big-endian; returns what is behind it.
kj::byte* put16(kj::byte* to, uint16_t value) {
  value = __builtin_bswap16(value);
  memcpy(to, &value, sizeof(value));
  return to + sizeof(value);
}
kj::byte* put32(kj::byte* to, uint32_t value) {
  value = __builtin_bswap32(value);
  memcpy(to, &value, sizeof(value));
  return to + sizeof(value);
}
kj::byte* put64(kj::byte* to, uint64_t value) {
  value = __builtin_bswap64(value);
  memcpy(to, &value, sizeof(value));
  return to + sizeof(value);
}
template <size_t size>
kj::byte* putBytes(kj::byte* to, const std::array<uint8_t, size>& bytes) {
  memcpy(to, bytes.data(), size);
  return to + size;
}

kj::byte* putHead(kj::byte* to, CheckpointNodeType type, unsigned height, const Hash& hash) {
  *to++ = static_cast<kj::byte>(type);
  return putBytes(put16(to, height), hash.bytes);
}

}  // namespace

NodeNumbers::NodeNumbers(const shm::MemoryBudget& budget) : budget(kj::atomicAddRef(budget)) {}

// Where the search for `slot` begins. Slots are handed out in order, so they are spread by a
// multiplication (by 2^64 divided by the golden ratio) whose upper bits count.
size_t NodeNumbers::firstPlaceOf(uint64_t slot) const {
  return (slot * 0x9e3779b97f4a7c15u) >> 20 & (entries.size() - 1);
}

// Where `slot` is, or would be put.
size_t NodeNumbers::placeOf(uint64_t slot) const {
  size_t mask = entries.size() - 1;
  size_t place = firstPlaceOf(slot);
  while (entries[place].slot != 0 && entries[place].slot != slot) place = (place + 1) & mask;
  return place;
}

uint64_t NodeNumbers::find(NodeRef node) const {
  return entries.size() == 0 ? 0 : entries[placeOf(node.slot())].number;
}

void NodeNumbers::prefetch(NodeRef node) const {
  if (entries.size() > 0) __builtin_prefetch(&entries[firstPlaceOf(node.slot())]);
}

void NodeNumbers::add(NodeRef node, uint64_t number) {
  if (used >= entries.size() / 4 * 3) grow();
  auto& entry = entries[placeOf(node.slot())];
  KJ_IREQUIRE(entry.slot == 0 && node.slot() != 0 && number != 0);
  entry = {node.slot(), number};
  ++used;
}

void NodeNumbers::grow() {
  auto count = kj::max(FIRST_ENTRIES, entries.size() * 2);
  shm::Reservation more;
  KJ_SWITCH_ONEOF(budget->reserve(count * sizeof(Entry))) {
    KJ_CASE_ONEOF(shortage, shm::Shortage) {
      kj::throwFatalException(
          kj::Exception(kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
                        kj::str("no memory to write the checkpoint with: ", shortage.describe())));
    }
    KJ_CASE_ONEOF(reserved, shm::Reservation) {
      more = kj::mv(reserved);
    }
  }
  auto old = kj::mv(entries);
  entries = kj::heapArray<Entry>(count);
  for (const auto& entry : old) {
    if (entry.slot != 0) entries[placeOf(entry.slot)] = entry;
  }
  old = nullptr;
  reservation = kj::mv(more);
}

NodeWriter::NodeWriter(const Store& store, CheckpointFile& file, const Stop& stop,
                       uint64_t firstNumber, unsigned lowestHeight, FindBelow findBelow)
    : store(store),
      file(file),
      stop(stop),
      first(firstNumber),
      lowestHeight(lowestHeight),
      findBelow(kj::mv(findBelow)),
      written(*store.budget),
      next(firstNumber) {}

NodeWriter::NodeWriter(const Store& store, CheckpointFile& file, const Stop& stop,
                       uint64_t firstNumber)
    : NodeWriter(store, file, stop, firstNumber, 0,
                 [](NodeRef, unsigned) -> uint64_t { KJ_UNREACHABLE; }) {}

// What visit() will look at.
void NodeWriter::prefetch(NodeRef node) const {
  if (node.isNull()) return;
  store.nodes.prefetch(node);
  store.nodes.prefetchReferences(node);
  written.prefetch(node);
}

uint64_t NodeWriter::write(NodeRef top, unsigned height) {
  return visit(top, height, 0, Place::TOP);
}

// `prefix` holds the bits of the path from `top` to `node`.
uint64_t NodeWriter::visit(NodeRef node, unsigned height, unsigned prefix, Place place) {
  if (node.isNull() || stopRequested) return 0;
  if (height < lowestHeight) return findBelow(node, prefix);

  bool mayComeAgain = place == Place::TOP || store.nodes.references(node) > 1;
  if (mayComeAgain) {
    if (auto number = written.find(node)) return number;
  }
  if (node.isLeaf()) {
    writeLeaf(node, height);
  } else {
    // Reclaimed only with the trie, so it stays where it is while its children are written.
    const auto& interior = store.nodes.interior(node);
    prefetch(interior.left);
    prefetch(interior.right);
    KJ_REQUIRE(height > 0, "a node with children at height 0: the trie is corrupt");
    auto left = visit(interior.left, height - 1, prefix << 1, Place::BELOW);
    auto right = visit(interior.right, height - 1, prefix << 1 | 1, Place::BELOW);
    if (stopRequested) return 0;
    auto* at = file.room(CHECKPOINT_INTERIOR_SIZE);
    at = putHead(at, CheckpointNodeType::INTERIOR, height, interior.hash);
    put64(put64(at, left), right);
  }
  auto number = next++;
  if (mayComeAgain) written.add(node, number);
  if (number % NODES_BETWEEN_LOOKS == 0 && stop.requested()) stopRequested = true;
  return number;
}

void NodeWriter::writeLeaf(NodeRef node, unsigned height) {
  const auto& leaf = store.nodes.leaf(node);
  KJ_REQUIRE(leaf.height() == height, "a leaf that is not made for its place: the trie is corrupt",
             leaf.height(), height);
  auto payload = store.payloads.view(leaf.payload);
  auto* at = file.room(CHECKPOINT_LEAF_SIZE);
  at = putHead(at, CheckpointNodeType::LEAF, height, leaf.hash);
  at = putBytes(at, payload.path().bytes);
  if (!payload.exists()) {
    put32(at, 0);
    return;
  }
  auto key = storedForm(payload.key());
  auto value = payload.value();
  put32(at, 4 + key.size() + 4 + value.size());
  file.number(static_cast<uint32_t>(key.size()));
  file.bytes(key);
  file.number(static_cast<uint32_t>(value.size()));
  file.bytes(value);
}

}  // namespace ledger
