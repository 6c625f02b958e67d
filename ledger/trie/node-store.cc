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
  auto segment = kj::atomicRefcounted<StoreSegment>("ledgerd-nodes"_kj, size);
  bases[group].store(segment->bytes().begin(), std::memory_order_release);
  made.lockExclusive()->add(kj::mv(segment));
  return size / NODE_SLOT_SIZE;
}

kj::Maybe<shm::Shortage> NodeStore::extend(uint32_t group, uint32_t end) {
  auto lock = made.lockExclusive();
  auto& segment = *(*lock)[group];
  auto needed = uint64_t(end) * NODE_SLOT_SIZE;
  const uint64_t before = segment.committed();
  if (needed <= before) return nullptr;
  auto target = std::min(segment.capacity(), shm::roundUp(needed, sizes.commitStep));
  KJ_SWITCH_ONEOF(budget->reserve(target - before)) {
    KJ_CASE_ONEOF(shortage, shm::Shortage) {
      return kj::mv(shortage);
    }
    KJ_CASE_ONEOF(reserved, shm::Reservation) {
      segment.commit(target - before, kj::mv(reserved));
    }
  }
  if (before == 0) {
    *reinterpret_cast<SegmentHeader*>(segment.bytes().begin()) = {NODE_MAGIC, LAYOUT_VERSION, group,
                                                                  segment.capacity()};
  }
  committed.fetch_add(target - before, std::memory_order_relaxed);
  return nullptr;
}

kj::Array<NumberedSegment> NodeStore::segments() const {
  auto lock = made.lockShared();
  auto result = kj::heapArrayBuilder<NumberedSegment>(lock->size());
  for (auto& segment : *lock) {
    if (segment->committed() == 0) break;  // The newest, which has no node yet.
    result.add(NumberedSegment{uint32_t(result.size()), segment->committed(),
                               kj::atomicAddRef(*segment)});
  }
  return result.finish();
}

uint64_t NodeStore::committedBytes() const {
  return committed.load(std::memory_order_relaxed);
}

}  // namespace ledger
