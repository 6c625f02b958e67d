// SPDX-License-Identifier: Apache-2.0
#pragma once
// Says no before the kernel's OOM killer would.
//
// A memfd has no size limit of its own, and fallocate on one never answers ENOSPC: past the end of
// memory the OOM killer ends some process, often another one. So every commit of memory that grows
// with a request asks a budget first. Budgets form a tree: a reservation is counted in its budget
// and in every budget above, and all of them must have room.

#include <kj/common.h>
#include <kj/one-of.h>
#include <kj/refcount.h>
#include <kj/string.h>

#include <atomic>
#include <cstdint>

namespace shm {

class MemoryBudget;

// Why a reservation was refused: figures for the error message.
struct Shortage {
  kj::String budget;  // Name of the budget that had no room, e.g. "--memory-limit".
  uint64_t needed;    // Bytes.
  uint64_t free;      // Bytes.
  uint64_t limit;     // Bytes.

  // "needs N bytes, F of L free (--memory-limit)".
  kj::String describe() const;
};

// Bytes set aside; dropping it gives them back. Move-only; may be dropped on any thread.
class Reservation {
public:
  Reservation() = default;  // Of nothing.
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation() noexcept;
  KJ_DISALLOW_COPY(Reservation);

  uint64_t size() const { return bytes; }

  // Takes over `other`, which must be of the same budget (or empty).
  void merge(Reservation&& other);

  // Gives `count` bytes back; count <= size().
  void release(uint64_t count);

private:
  friend class MemoryBudget;
  Reservation(kj::Own<const MemoryBudget> budget, uint64_t bytes);

  kj::Own<const MemoryBudget> budget;  // Null: of nothing.
  uint64_t bytes = 0;
};

// Thread: every method is const and may be called from any thread.
class MemoryBudget final : public kj::AtomicRefcounted {
public:
  // `name` appears in errors: the flag that sets the limit.
  static kj::Own<const MemoryBudget> create(kj::StringPtr name, uint64_t limit);
  static kj::Own<const MemoryBudget> createUnder(const MemoryBudget& parent, kj::StringPtr name,
                                                 uint64_t limit);

  kj::OneOf<Reservation, Shortage> reserve(uint64_t bytes) const;

  uint64_t used() const { return reserved.load(std::memory_order_relaxed); }
  uint64_t limit() const { return most; }
  kj::StringPtr name() const { return label; }

  MemoryBudget(kj::Maybe<kj::Own<const MemoryBudget>> parent, kj::StringPtr name, uint64_t limit);

private:
  friend class Reservation;
  kj::Maybe<Shortage> tryAdd(uint64_t bytes) const;
  void subtract(uint64_t bytes) const;

  kj::Maybe<kj::Own<const MemoryBudget>> parent;
  kj::String label;
  uint64_t most;
  mutable std::atomic<uint64_t> reserved{0};
};

}  // namespace shm
