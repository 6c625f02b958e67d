// SPDX-License-Identifier: Apache-2.0
#include "shm/retired-arenas.h"

namespace shm {
namespace {

uint64_t sum(const kj::Vector<kj::Own<const PeerReadable>>& arenas) {
  uint64_t bytes = 0;
  for (auto& arena : arenas) bytes += arena->capacity();
  return bytes;
}

}  // namespace

void RetiredArenas::add(kj::Own<const PeerReadable> arena) const {
  if (arena->isOpenElsewhere()) held.lockExclusive()->add(kj::mv(arena));
}

uint64_t RetiredArenas::collect() const {
  kj::Vector<kj::Own<const PeerReadable>> dropped;  // Unmapped after the lock is released.
  auto arenas = held.lockExclusive();
  kj::Vector<kj::Own<const PeerReadable>> kept;
  for (auto& arena : *arenas) {
    (arena->isOpenElsewhere() ? kept : dropped).add(kj::mv(arena));
  }
  *arenas = kj::mv(kept);
  return sum(*arenas);
}

uint64_t RetiredArenas::bytes() const {
  return sum(*held.lockShared());
}

}  // namespace shm
