// SPDX-License-Identifier: Apache-2.0
#include "shm/memory-budget.h"

#include <kj/debug.h>

#include <utility>

namespace shm {

kj::String Shortage::describe() const {
  return kj::str("needs ", needed, " bytes, ", free, " of ", limit, " free (", budget, ")");
}

// -- Reservation

Reservation::Reservation(kj::Own<const MemoryBudget> budget, uint64_t bytes)
    : budget(kj::mv(budget)), bytes(bytes) {}

Reservation::Reservation(Reservation&& other) noexcept
    : budget(kj::mv(other.budget)), bytes(std::exchange(other.bytes, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  // Through a third one, so that assigning to itself changes nothing.
  Reservation taken(kj::mv(other));
  std::swap(budget, taken.budget);
  std::swap(bytes, taken.bytes);
  return *this;
}

Reservation::~Reservation() noexcept {
  if (budget.get() != nullptr) budget->subtract(bytes);
}

void Reservation::merge(Reservation&& other) {
  if (other.budget.get() == nullptr) return;
  if (budget.get() == nullptr) {
    *this = kj::mv(other);
    return;
  }
  KJ_REQUIRE(this != &other && budget.get() == other.budget.get(),
             "reservations of different budgets", budget->name(), other.budget->name());
  bytes += std::exchange(other.bytes, 0);  // Cannot overflow: both are within one limit.
}

void Reservation::release(uint64_t count) {
  KJ_REQUIRE(count <= bytes, "gives back more than was reserved", count, bytes);
  if (count == 0) return;
  bytes -= count;
  budget->subtract(count);
}

// -- MemoryBudget

kj::Own<const MemoryBudget> MemoryBudget::create(kj::StringPtr name, uint64_t limit) {
  return kj::atomicRefcounted<MemoryBudget>(nullptr, name, limit);
}

kj::Own<const MemoryBudget> MemoryBudget::createUnder(const MemoryBudget& parent,
                                                      kj::StringPtr name, uint64_t limit) {
  return kj::atomicRefcounted<MemoryBudget>(kj::atomicAddRef(parent), name, limit);
}

MemoryBudget::MemoryBudget(kj::Maybe<kj::Own<const MemoryBudget>> parent, kj::StringPtr name,
                           uint64_t limit)
    : parent(kj::mv(parent)), label(kj::str(name)), most(limit) {}

kj::OneOf<Reservation, Shortage> MemoryBudget::reserve(uint64_t bytes) const {
  KJ_IF_MAYBE (shortage, tryAdd(bytes)) {
    return kj::mv(*shortage);
  }
  return Reservation(kj::atomicAddRef(*this), bytes);
}

kj::Maybe<Shortage> MemoryBudget::tryAdd(uint64_t bytes) const {
  // Relaxed: the counter guards no other memory. It never exceeds `most`.
  uint64_t now = reserved.load(std::memory_order_relaxed);
  do {
    if (bytes > most - now) return Shortage{kj::str(label), bytes, most - now, most};
  } while (!reserved.compare_exchange_weak(now, now + bytes, std::memory_order_relaxed));

  KJ_IF_MAYBE (above, parent) {
    KJ_IF_MAYBE (shortage, (*above)->tryAdd(bytes)) {
      reserved.fetch_sub(bytes, std::memory_order_relaxed);
      return kj::mv(*shortage);
    }
  }
  return nullptr;
}

void MemoryBudget::subtract(uint64_t bytes) const {
  reserved.fetch_sub(bytes, std::memory_order_relaxed);
  KJ_IF_MAYBE (above, parent) {
    (*above)->subtract(bytes);
  }
}

}  // namespace shm
