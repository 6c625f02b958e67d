// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/slot-table.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger {

namespace {
constexpr size_t NEW_AT_ONCE = 4096;
}

SlotTable::SlotTable(kj::Own<const shm::MemoryBudget> budget, Growth& growth, uint32_t first)
    : budget(kj::mv(budget)),
      growth(growth),
      first(first),
      groups(std::make_unique<Group[]>(GROUPS)) {}

kj::Maybe<shm::Shortage> SlotTable::allocate(kj::ArrayPtr<uint64_t> out) const {
  auto lock = state.lockExclusive();
  size_t taken = 0;
  auto undo = [&]() {
    for (auto number : out.slice(0, taken)) giveBack(*lock, number);
  };
  KJ_ON_SCOPE_FAILURE(undo());
  while (taken < out.size()) {
    if (lock->withFree.size() == 0) {
      KJ_SWITCH_ONEOF(makeNew(*lock, out.slice(taken, out.size()))) {
        KJ_CASE_ONEOF(shortage, shm::Shortage) {
          undo();
          return kj::mv(shortage);
        }
        KJ_CASE_ONEOF(made, size_t) {
          taken += made;
        }
      }
      continue;
    }
    auto& number = out[taken];
    auto groupNumber = lock->withFree.back();
    auto& group = groups[groupNumber];
    number = uint64_t(groupNumber) << GROUP_BITS | group.firstFree;
    group.firstFree = counter(number).load(std::memory_order_relaxed);
    if (group.firstFree == NONE) lock->withFree.removeLast();
    counter(number).store(1, std::memory_order_relaxed);
    ++lock->live;
    ++taken;
  }
  return nullptr;
}

kj::OneOf<size_t, shm::Shortage> SlotTable::makeNew(State& state,
                                                    kj::ArrayPtr<uint64_t> out) const {
  if (state.groupCount == 0 ||
      groups[state.groupCount - 1].used == groups[state.groupCount - 1].capacity) {
    KJ_REQUIRE(state.groupCount < GROUPS, "all slot numbers are in use", GROUPS);
    auto& group = groups[state.groupCount];
    group.capacity = growth.open(state.groupCount);
    KJ_ASSERT(group.capacity > first && group.capacity <= 1u << GROUP_BITS);
    group.used = first;
    group.firstFree = NONE;
    group.chunks = kj::heapArray<std::atomic<Counter*>>((group.capacity + (1u << CHUNK_BITS) - 1) >>
                                                        CHUNK_BITS);
    for (auto& chunk : group.chunks) chunk.store(nullptr, std::memory_order_relaxed);
    ++state.groupCount;
  }
  auto groupNumber = state.groupCount - 1;
  auto& group = groups[groupNumber];
  auto chunk = group.used >> CHUNK_BITS;
  if (group.chunks[chunk].load(std::memory_order_relaxed) == nullptr) {
    KJ_IF_MAYBE (shortage, addChunk(state, groupNumber, chunk)) {
      return kj::mv(*shortage);
    }
  }
  const auto endOfChunk = (chunk + 1) << CHUNK_BITS;
  // Not too many at a time: what they stand for is made under the lock.
  const size_t room = std::min(endOfChunk, group.capacity) - group.used;
  const auto count = std::min({out.size(), room, NEW_AT_ONCE});
  KJ_IF_MAYBE (shortage, growth.extend(groupNumber, group.used + count)) {
    return kj::mv(*shortage);
  }
  auto* counters = group.chunks[chunk].load(std::memory_order_relaxed);
  for (size_t i = 0; i < count; ++i) {
    const auto inGroup = group.used + i;
    counters[inGroup & ((1u << CHUNK_BITS) - 1)].store(1, std::memory_order_relaxed);
    out[i] = uint64_t(groupNumber) << GROUP_BITS | inGroup;
  }
  group.used += count;
  state.live += count;
  return count;
}

kj::Maybe<shm::Shortage> SlotTable::addChunk(State& state, uint32_t group, uint32_t chunk) const {
  constexpr size_t COUNT = size_t(1) << CHUNK_BITS;
  KJ_SWITCH_ONEOF(budget->reserve(COUNT * sizeof(Counter))) {
    KJ_CASE_ONEOF(shortage, shm::Shortage) {
      return kj::mv(shortage);
    }
    KJ_CASE_ONEOF(reservation, shm::Reservation) {
      state.reservation.merge(kj::mv(reservation));
    }
  }
  auto counters = kj::heapArray<Counter>(COUNT);
  // Release; pairs with the acquire in counter().
  groups[group].chunks[chunk].store(counters.begin(), std::memory_order_release);
  state.chunks.add(kj::mv(counters));
  return nullptr;
}

void SlotTable::giveBack(State& state, uint64_t number) const {
  auto groupNumber = uint32_t(number >> GROUP_BITS);
  auto& group = groups[groupNumber];
  if (group.firstFree == NONE) state.withFree.add(groupNumber);
  counter(number).store(group.firstFree, std::memory_order_relaxed);
  group.firstFree = number & ((1u << GROUP_BITS) - 1);
  --state.live;
}

void SlotTable::free(kj::ArrayPtr<const uint64_t> numbers) const {
  if (numbers.size() == 0) return;
  auto lock = state.lockExclusive();
  for (auto number : numbers) {
    KJ_DASSERT(references(number) == 0, "a slot that is in use was freed", number);
    giveBack(*lock, number);
  }
}

uint64_t SlotTable::live() const {
  return state.lockShared()->live;
}

uint64_t SlotTable::privateBytes() const {
  return state.lockShared()->reservation.size();
}

}  // namespace ledger
