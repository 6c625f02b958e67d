// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/writer-nodes.h"

#include "ledger/checkpoint/format.h"
#include "ledger/encoding.h"

#include <kj/debug.h>

namespace ledger {
namespace {

constexpr size_t FIRST_ENTRIES = 64;
constexpr uint64_t NODES_BETWEEN_LOOKS = 1024;  // At `stop`.

}  // namespace

NodeNumbers::NodeNumbers(const shm::MemoryBudget& budget) : budget(kj::atomicAddRef(budget)) {}

// Where `slot` is, or would be put. Slots are handed out in order, so they are spread by a
// multiplication (by 2^64 divided by the golden ratio) whose upper bits count.
size_t NodeNumbers::placeOf(uint64_t slot) const {
  size_t mask = entries.size() - 1;
  size_t place = (slot * 0x9e3779b97f4a7c15u) >> 20 & mask;
  while (entries[place].slot != 0 && entries[place].slot != slot) place = (place + 1) & mask;
  return place;
}

uint64_t NodeNumbers::find(NodeRef node) const {
  return entries.size() == 0 ? 0 : entries[placeOf(node.slot())].number;
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
    KJ_REQUIRE(height > 0, "a node with children at height 0: the trie is corrupt");
    auto left = visit(interior.left, height - 1, prefix << 1, Place::BELOW);
    auto right = visit(interior.right, height - 1, prefix << 1 | 1, Place::BELOW);
    if (stopRequested) return 0;
    file.number(static_cast<uint8_t>(CheckpointNodeType::INTERIOR));
    file.number(static_cast<uint16_t>(height));
    file.bytes(interior.hash.ptr());
    file.number(left);
    file.number(right);
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
  file.number(static_cast<uint8_t>(CheckpointNodeType::LEAF));
  file.number(static_cast<uint16_t>(height));
  file.bytes(leaf.hash.ptr());
  file.bytes(payload.path().ptr());
  if (!payload.exists()) {
    file.number(uint32_t(0));
    return;
  }
  auto key = storedForm(payload.key());
  auto value = payload.value();
  file.number(static_cast<uint32_t>(4 + key.size() + 4 + value.size()));
  file.number(static_cast<uint32_t>(key.size()));
  file.bytes(key);
  file.number(static_cast<uint32_t>(value.size()));
  file.bytes(value);
}

}  // namespace ledger
