// SPDX-License-Identifier: Apache-2.0
#pragma once
// The slots that hold trie nodes, in memfd segments, addressed by number (format.h).
//
// Slots are allocated in batches, filled by their one writer, and only then referred to by anything
// that others can see. The store does not know which slot refers to which: see store.h.

#include "ledger/trie/format.h"
#include "ledger/trie/slot-table.h"
#include "ledger/trie/store-segment.h"
#include "shm/memory-budget.h"

#include <array>
#include <atomic>

namespace ledger {

// Sizes of a store's segments. Small ones are for tests.
struct SegmentSizes {
  uint64_t first = uint64_t(64) << 20;      // Bytes; doubled with each segment.
  uint64_t most = uint64_t(1) << 30;        // Bytes.
  uint64_t commitStep = uint64_t(2) << 20;  // Bytes committed at a time: whole huge pages.
};

// Thread: every method is const and may be called from any thread. A slot's bytes are written by
// whoever allocated it, until it publishes them.
class NodeStore final : private SlotTable::Growth {
public:
  NodeStore(kj::Own<const shm::MemoryBudget> budget, SegmentSizes sizes);

  // All or nothing; each slot has one reference.
  kj::Maybe<shm::Shortage> allocate(kj::ArrayPtr<uint64_t> slots) const {
    return table.allocate(slots);
  }
  void addRef(NodeRef node) const { table.addRef(node.slot()); }
  bool release(NodeRef node) const { return table.release(node.slot()); }
  uint32_t references(NodeRef node) const { return table.references(node.slot()); }
  void free(kj::ArrayPtr<const uint64_t> slots) const { table.free(slots); }

  const InteriorSlot& interior(NodeRef node) const {
    return *reinterpret_cast<const InteriorSlot*>(at(node.slot()));
  }
  const LeafSlot& leaf(NodeRef node) const {
    return *reinterpret_cast<const LeafSlot*>(at(node.slot()));
  }
  // Hints that interior() or leaf(), or the reference counter, will be asked for, so that their
  // memory is on its way meanwhile.
  void prefetch(NodeRef node) const {
    const auto* slot = at(node.slot());
    __builtin_prefetch(slot);
    __builtin_prefetch(slot + NODE_SLOT_SIZE - 1);  // In the next line for two slots in four.
  }
  void prefetchReferences(NodeRef node) const { table.prefetch(node.slot()); }

  // Of either kind.
  const Hash& hash(NodeRef node) const { return interior(node).hash; }

  // For the one who allocated the slot.
  InteriorSlot& writeInterior(uint64_t slot) const {
    return *reinterpret_cast<InteriorSlot*>(at(slot));
  }
  LeafSlot& writeLeaf(uint64_t slot) const { return *reinterpret_cast<LeafSlot*>(at(slot)); }

  // Those that there are, from 0 on.
  kj::Array<NumberedSegment> segments() const;

  uint64_t live() const { return table.live(); }
  uint64_t committedBytes() const;
  uint64_t privateBytes() const { return table.privateBytes(); }

private:
  // Growth; called under the table's lock, so that nothing else changes `made`.
  uint32_t open(uint32_t group) override;
  kj::Maybe<shm::Shortage> extend(uint32_t group, uint32_t end) override;

  kj::byte* at(uint64_t slot) const {
    // Acquire; pairs with the release in open().
    return bases[slot >> NodeRef::SLOT_BITS].load(std::memory_order_acquire) +
           (slot & ((1u << NodeRef::SLOT_BITS) - 1)) * NODE_SLOT_SIZE;
  }

  kj::Own<const shm::MemoryBudget> budget;
  const SegmentSizes sizes;
  std::array<std::atomic<kj::byte*>, SlotTable::GROUPS> bases{};
  kj::MutexGuarded<kj::Vector<kj::Own<StoreSegment>>> made;
  std::atomic<uint64_t> committed{0};
  SlotTable table;
};

static_assert(NodeRef::SLOT_BITS == SlotTable::GROUP_BITS);
static_assert(uint32_t(1) << NodeRef::SEGMENT_BITS == SlotTable::GROUPS);
static_assert(sizeof(SegmentHeader) <= NODE_SLOT_SIZE, "a segment's header fits its slot 0");

}  // namespace ledger
