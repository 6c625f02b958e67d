// SPDX-License-Identifier: Apache-2.0
#pragma once
// A memfd that nodes or payload records lie in, as peers that may map the store see it.

#include "shm/memfd.h"
#include "shm/memory-budget.h"
#include "shm/peer-readable.h"

#include <atomic>

namespace ledger {

// Thread: const methods from any thread; the rest by the store, under its lock.
class StoreSegment final : public shm::PeerReadable {
public:
  // Makes a memfd of `size` bytes, a multiple of the page size, with no page committed. `name`
  // shows in /proc/<pid>/fd only.
  StoreSegment(kj::StringPtr name, uint64_t size)
      : number(nextNumber.fetch_add(1, std::memory_order_relaxed)),
        memory(shm::Memfd::create(name, size)) {}

  // Unlike that of any other segment that the process ever had.
  uint64_t serial() const { return number; }

  kj::ArrayPtr<kj::byte> bytes() const { return memory->bytes(); }
  uint64_t committed() const { return committedBytes; }  // From the start.

  // Commits the next `more` bytes, which `reserved` is for; a page or two need no reservation.
  void commit(uint64_t more, shm::Reservation reserved) {
    memory->commit(committedBytes, more, shm::Memfd::Warm::YES);
    committedBytes += more;
    reservation.merge(kj::mv(reserved));
  }

  uint64_t capacity() const override { return memory->size(); }
  kj::AutoCloseFd openReadOnly() const override {
    opened.store(true, std::memory_order_relaxed);
    return memory->openReadOnly();
  }
  bool isOpenElsewhere() const override {
    return opened.load(std::memory_order_relaxed) && memory->isOpenElsewhere();
  }

private:
  static inline std::atomic<uint64_t> nextNumber{1};

  const uint64_t number;
  uint64_t committedBytes = 0;
  shm::Reservation reservation;  // Before `memory`: given back after it.
  kj::Own<shm::Memfd> memory;
  mutable std::atomic<bool> opened{false};  // Ever.
};

// A segment as the references to what lies in it name it.
struct NumberedSegment {
  uint32_t number;
  uint64_t committed;  // Bytes from the start, at the time of asking.
  kj::Own<const StoreSegment> memory;
};

// All of a store.
struct StoreSegments {
  kj::Array<NumberedSegment> nodes, payloads;  // Each ascending by number.
};

// Some values, by where they lie.
struct LocatedValues {
  struct Span {
    uint32_t segment;  // An index of `segments`.
    uint64_t offset;   // Bytes from its start.
    uint64_t length;   // Bytes.
  };
  kj::Array<kj::Own<const StoreSegment>> segments;  // Each once.
  kj::Array<Span> spans;
};

}  // namespace ledger
