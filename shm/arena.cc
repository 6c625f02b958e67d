// SPDX-License-Identifier: Apache-2.0
#include "shm/arena.h"

#include <kj/debug.h>

#include <limits>

namespace shm {

kj::OneOf<kj::Own<const Arena>, Shortage> Arena::create(uint32_t id, uint64_t capacity,
                                                        const MemoryBudget& budget) {
  const uint64_t page = pageSize();
  KJ_REQUIRE(capacity > 0 && capacity <= std::numeric_limits<uint64_t>::max() - page,
             "not a capacity for an arena", capacity);
  const uint64_t size = roundUp(capacity, page);

  auto answer = budget.reserve(size);
  KJ_SWITCH_ONEOF(answer) {
    KJ_CASE_ONEOF(shortage, Shortage) {
      return kj::mv(shortage);
    }
    KJ_CASE_ONEOF(reservation, Reservation) {
      auto memory = Memfd::create("ledgerd-arena", size);
      memory->commit(0, size, Memfd::Warm::YES);
      kj::Own<const Arena> arena =
          kj::atomicRefcounted<Arena>(id, kj::mv(reservation), kj::mv(memory));
      return kj::mv(arena);
    }
  }
  KJ_UNREACHABLE;
}

Arena::Arena(uint32_t id, Reservation reservation, kj::Own<Memfd> memory)
    : number(id), reservation(kj::mv(reservation)), memory(kj::mv(memory)) {}

}  // namespace shm
