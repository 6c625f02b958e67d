// SPDX-License-Identifier: Apache-2.0
#include "server/session-arenas.h"

namespace ledger::server {

void SessionArenas::add(const shm::ArenaSet& arenas) const {
  known.lockExclusive()->insert(&arenas);
}

void SessionArenas::remove(const shm::ArenaSet& arenas) const {
  known.lockExclusive()->erase(&arenas);
}

kj::Vector<kj::Own<const shm::ArenaSet>> SessionArenas::all() const {
  auto lock = known.lockShared();
  kj::Vector<kj::Own<const shm::ArenaSet>> result(lock->size());
  for (auto* arenas : *lock) result.add(kj::atomicAddRef(*arenas));
  return result;
}

void SessionArenas::sweep() const {
  for (auto& arenas : all()) arenas->sweep();
}

void SessionArenas::trim() const {
  for (auto& arenas : all()) arenas->trim();
}

}  // namespace ledger::server
