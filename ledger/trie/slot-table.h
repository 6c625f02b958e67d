// SPDX-License-Identifier: Apache-2.0
#pragma once
// Numbers things and counts the references to each: the mutable half of the stores, in private
// memory.
//
// Numbers are handed out in groups of 2^24; a freed number is used again before a new one is made.
// A live number's counter holds its references, a free one's the next free number of its group, so
// that a free list costs nothing.

#include "shm/memory-budget.h"

#include <kj/array.h>
#include <kj/mutex.h>
#include <kj/one-of.h>
#include <kj/vector.h>

#include <atomic>
#include <memory>

namespace ledger {

// Thread: every method is const and may be called from any thread.
class SlotTable final {
public:
  static constexpr unsigned GROUP_BITS = 24;
  static constexpr uint32_t GROUPS = 4096;

  // Says how many numbers a group may have and makes what they stand for. Called under the table's
  // lock.
  class Growth {
  public:
    // How many numbers group `group` has at most, 1 to 2^24. Asked once per group, in order.
    virtual uint32_t open(uint32_t group) = 0;
    // Numbers below `end` of `group` are about to be used.
    virtual kj::Maybe<shm::Shortage> extend(uint32_t group, uint32_t end) = 0;
  };

  // `first` numbers of each group are never handed out. `growth` must outlive the table.
  SlotTable(kj::Own<const shm::MemoryBudget> budget, Growth& growth, uint32_t first);

  // Fills `out` with free numbers, each with one reference; all of them or none.
  kj::Maybe<shm::Shortage> allocate(kj::ArrayPtr<uint64_t> out) const;

  void addRef(uint64_t number) const { counter(number).fetch_add(1, std::memory_order_relaxed); }

  // True: that was the last one. The caller clears up what the number stood for, then frees it.
  bool release(uint64_t number) const {
    // Release what was read through this reference; acquire what others did, if it is the last.
    return counter(number).fetch_sub(1, std::memory_order_acq_rel) == 1;
  }

  uint32_t references(uint64_t number) const {
    return counter(number).load(std::memory_order_relaxed);
  }

  // A hint that the number's counter will be asked for.
  void prefetch(uint64_t number) const { __builtin_prefetch(&counter(number)); }

  // Each must have no reference left.
  void free(kj::ArrayPtr<const uint64_t> numbers) const;

  uint64_t live() const;
  uint64_t privateBytes() const;  // Of the counters.

private:
  using Counter = std::atomic<uint32_t>;
  static constexpr unsigned CHUNK_BITS = 16;
  static constexpr uint32_t NONE = ~uint32_t(0);

  struct Group {
    uint32_t capacity;
    uint32_t used;  // Numbers handed out at least once.
    uint32_t firstFree;
    kj::Array<std::atomic<Counter*>> chunks;
  };
  struct State {
    shm::Reservation reservation;           // Given back after the chunks.
    kj::Vector<kj::Array<Counter>> chunks;  // Owns them.
    kj::Vector<uint32_t> withFree;          // Groups whose free list is not empty, each once.
    uint32_t groupCount = 0;
    uint64_t live = 0;
  };

  Counter& counter(uint64_t number) const {
    auto& group = groups[number >> GROUP_BITS];
    auto inGroup = number & ((1u << GROUP_BITS) - 1);
    return group.chunks[inGroup >> CHUNK_BITS].load(
        std::memory_order_acquire)[inGroup & ((1u << CHUNK_BITS) - 1)];
  }
  kj::Maybe<shm::Shortage> addChunk(State& state, uint32_t group, uint32_t chunk) const;
  // Fills a part of `out`, at least one number, with numbers that were never handed out; tells how
  // many.
  kj::OneOf<size_t, shm::Shortage> makeNew(State& state, kj::ArrayPtr<uint64_t> out) const;
  void giveBack(State& state, uint64_t number) const;

  kj::Own<const shm::MemoryBudget> budget;
  Growth& growth;
  const uint32_t first;
  // Written under the lock before the first number of a group is handed out; `chunks` entries are
  // set once.
  mutable std::unique_ptr<Group[]> groups;
  kj::MutexGuarded<State> state;
};

}  // namespace ledger
