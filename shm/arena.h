// SPDX-License-Identifier: Apache-2.0
#pragma once
// Shared memory that this process writes and one peer reads.
//
// Every page is committed and warm before anybody sees the arena, so that the peer can read all of
// it without ever meeting a page that is not there. An arena has no state but its bytes: which
// spans of it are lent is known to its ArenaSet, in private memory.

#include "shm/memfd.h"
#include "shm/memory-budget.h"
#include "shm/peer-readable.h"

namespace shm {

// Thread: every method is const and may be called from any thread.
class Arena final : public PeerReadable {
public:
  // `capacity` is rounded up to whole pages and is counted in `budget` while the arena lives.
  // Takes about 0.3 s a GiB: not on an event loop. Throws if the kernel refuses the memory.
  static kj::OneOf<kj::Own<const Arena>, Shortage> create(uint32_t id, uint64_t capacity,
                                                          const MemoryBudget& budget);

  uint32_t id() const { return number; }
  kj::ArrayPtr<kj::byte> bytes() const { return memory->bytes(); }

  uint64_t capacity() const override { return memory->size(); }
  kj::AutoCloseFd openReadOnly() const override { return memory->openReadOnly(); }
  bool isOpenElsewhere() const override { return memory->isOpenElsewhere(); }

  Arena(uint32_t id, Reservation reservation, kj::Own<Memfd> memory);  // Use create().

private:
  const uint32_t number;
  Reservation reservation;  // Before `memory`: the memory goes first, then its place in the budget.
  kj::Own<Memfd> memory;
};

}  // namespace shm
