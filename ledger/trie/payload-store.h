// SPDX-License-Identifier: Apache-2.0
#pragma once
// The records that hold keys and values, in memfd segments (format.h), each counted by a number of
// its own.
//
// Space is given out in size classes (8 bytes apart up to 1 KiB, then eight to each doubling): a
// freed record's space is used again for its class, and a segment whose last record goes is closed,
// which is the only way memory goes back to the system. A record too large for the usual segment
// gets one of its own.

#include "ledger/trie/format.h"
#include "ledger/trie/node-store.h"
#include "ledger/trie/slot-table.h"
#include "ledger/trie/store-segment.h"
#include "shm/memory-budget.h"
#include "shm/retired-arenas.h"

#include <kj/mutex.h>
#include <kj/vector.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>

namespace ledger {

// A record and its reference counter.
struct PayloadHandle {
  PayloadRef ref;
  uint64_t counter = 0;
};

// A record as it lies in the store.
struct PayloadView {
  const PayloadHeader* header;

  const Path& path() const { return header->path; }
  EncodedKey key() const {
    return {reinterpret_cast<const kj::byte*>(header + 1), header->keyLength()};
  }
  Value value() const { return {key().end(), header->valueLength}; }
  // False: the leaf came from a file that had no payload object for it.
  bool exists() const { return !(header->keyWord & PayloadHeader::NO_PAYLOAD); }
  kj::Maybe<const Hash&> chainHash() const {
    if (header->keyWord & PayloadHeader::HAS_CHAIN) return header->chainHash;
    return nullptr;
  }
};

// Thread: every method is const and may be called from any thread. A record's bytes are written by
// whoever allocated it, until it publishes them.
class PayloadStore final : private SlotTable::Growth {
public:
  PayloadStore(kj::Own<const shm::MemoryBudget> budget, SegmentSizes sizes);
  ~PayloadStore() noexcept(false);

  // A record for a key and a value of these lengths, already checked against MAX_KEY_SIZE and
  // MAX_VALUE_SIZE.
  struct Lengths {
    uint32_t key;
    uint32_t value;
  };

  // All or nothing; each record has one reference, and its header's lengths are set.
  kj::Maybe<shm::Shortage> allocate(kj::ArrayPtr<const Lengths> lengths,
                                    kj::ArrayPtr<PayloadHandle> out) const;

  void addRef(uint64_t counter) const { counters.addRef(counter); }

  // Frees the record with its last reference.
  void release(PayloadHandle record) const;

  PayloadView view(PayloadRef ref) const {
    return {reinterpret_cast<const PayloadHeader*>(at(ref))};
  }

  // For the one who allocated the record.
  PayloadHeader& writeHeader(PayloadRef ref) const {
    return *reinterpret_cast<PayloadHeader*>(at(ref));
  }
  // Where bytes of live records lie: for peers, who see segments and not addresses. None of
  // `values` is empty. The records stay the caller's to keep alive.
  LocatedValues locate(kj::ArrayPtr<const Value> values) const;

  // Those that there are, ascending.
  kj::Array<NumberedSegment> segments() const;

  // Gives back the memory of closed segments that peers have let go of. From time to time.
  void collect() const { retired->collect(); }

  // Fills in all but the chain hash. `key` and `value` have the lengths that were asked for.
  void write(PayloadRef ref, const Path& path, const Payload& payload) const;

  uint64_t live() const { return counters.live(); }
  uint64_t liveBytes() const;  // Space of the live records.
  uint64_t committedBytes() const;
  uint64_t privateBytes() const;

  // The space of a record, from its start: what liveBytes() counts.
  static uint64_t spaceFor(Lengths lengths);

private:
  static constexpr uint32_t SEGMENTS = 65536;
  static constexpr unsigned CLASSES = 128 + 8 * 22;

  // A record of at least this many bytes gets a segment of its own.
  uint64_t ownSegmentFrom() const { return sizes.first / 4; }

  struct Segment {
    Segment() = default;
    Segment(Segment&&) = default;
    Segment& operator=(Segment&&) = default;
    ~Segment() noexcept(false);  // A peer may still have it open.

    kj::Own<StoreSegment> memory;  // Null: the number is free.
    const shm::RetiredArenas* retired = nullptr;
    uint64_t used = 0;    // Bytes from the start that were given out at least once.
    uint64_t live = 0;    // Bytes in live records.
    bool shared = false;  // Holds many records, whose space is used again.
  };
  struct State {
    kj::Vector<Segment> segments;
    kj::Maybe<uint32_t> current;  // Where new records go that do not fill a gap.
    uint64_t nextSize;            // Of the next shared segment.
    std::array<kj::Vector<PayloadRef>, CLASSES> free;
    uint64_t liveBytes = 0;
    uint64_t committed = 0;
  };

  // Growth of the counters: they stand for nothing else.
  uint32_t open(uint32_t) override { return uint32_t(1) << SlotTable::GROUP_BITS; }
  kj::Maybe<shm::Shortage> extend(uint32_t, uint32_t) override { return nullptr; }

  kj::byte* at(PayloadRef ref) const {
    // Acquire; pairs with the release in install().
    return bases[ref.segment()].load(std::memory_order_acquire) + ref.offset();
  }
  Segment newSegment(uint64_t bytes) const;
  // Commits pages until `end` bytes are; the segment need not be in the store yet.
  kj::Maybe<shm::Shortage> extend(Segment& segment, uint64_t end) const;
  // A segment with one record of `space` bytes, committed. Takes a while: not under the lock.
  kj::Maybe<shm::Shortage> makeOwn(uint64_t space, Segment& out) const;
  kj::Maybe<shm::Shortage> tryAllocate(kj::ArrayPtr<const Lengths> lengths,
                                       kj::ArrayPtr<PayloadHandle> out) const;
  kj::Maybe<shm::Shortage> take(State& state, uint64_t space, PayloadRef& out) const;
  PayloadRef carve(State& state, uint32_t segment, uint64_t space) const;
  uint32_t install(State& state, Segment segment) const;
  // What is returned is to be destroyed once the lock is given back.
  Segment remove(State& state, uint32_t number) const;
  kj::Maybe<Segment> giveBack(State& state, PayloadRef ref, uint64_t space) const;

  kj::Own<const shm::MemoryBudget> budget;
  const kj::Own<const shm::RetiredArenas> retired;
  const SegmentSizes sizes;
  std::unique_ptr<std::atomic<kj::byte*>[]> bases;  // SEGMENTS of them.
  kj::MutexGuarded<State> state;
  // The same segments by where they begin; held for a few lines, also beside `state`: to look there
  // never waits for memory that is being made.
  kj::MutexGuarded<std::map<const kj::byte*, kj::Own<const StoreSegment>>> byAddress;
  SlotTable counters;
};

}  // namespace ledger
