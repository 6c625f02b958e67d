// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/node-store.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger {

NodeStore::NodeStore(kj::Own<const shm::MemoryBudget> budget, SegmentSizes sizes)
    : budget(kj::mv(budget)), sizes(sizes), table(kj::atomicAddRef(*this->budget), *this, 1) {
  KJ_REQUIRE(sizes.first >= shm::pageSize() && sizes.most >= sizes.first && sizes.commitStep > 0 &&
             sizes.commitStep % shm::pageSize() == 0);
}

uint32_t NodeStore::open(uint32_t group) {
  auto most = std::min(sizes.most, (uint64_t(1) << NodeRef::SLOT_BITS) * NODE_SLOT_SIZE);
  auto wanted = group < 32 ? sizes.first << group : most;
  auto size = shm::roundUp(std::min(wanted, most), shm::pageSize());
  segments.add(Segment{shm::Memfd::create("ledgerd-nodes", size)});
  bases[group].store(segments.back().memory->bytes().begin(), std::memory_order_release);
  return size / NODE_SLOT_SIZE;
}

kj::Maybe<shm::Shortage> NodeStore::extend(uint32_t group, uint32_t end) {
  auto& segment = segments[group];
  auto needed = uint64_t(end) * NODE_SLOT_SIZE;
  if (needed <= segment.committed) return nullptr;
  auto target = std::min(segment.memory->size(), shm::roundUp(needed, sizes.commitStep));
  auto more = target - segment.committed;
  KJ_SWITCH_ONEOF(budget->reserve(more)) {
    KJ_CASE_ONEOF(shortage, shm::Shortage) {
      return kj::mv(shortage);
    }
    KJ_CASE_ONEOF(reserved, shm::Reservation) {
      segment.memory->commit(segment.committed, more, shm::Memfd::Warm::YES);
      reservation.merge(kj::mv(reserved));
    }
  }
  if (segment.committed == 0) {
    *reinterpret_cast<SegmentHeader*>(segment.memory->bytes().begin()) = {
        NODE_MAGIC, LAYOUT_VERSION, group, segment.memory->size()};
  }
  segment.committed = target;
  committed.fetch_add(more, std::memory_order_relaxed);
  return nullptr;
}

uint64_t NodeStore::committedBytes() const {
  return committed.load(std::memory_order_relaxed);
}

}  // namespace ledger
