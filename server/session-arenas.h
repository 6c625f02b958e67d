// SPDX-License-Identifier: Apache-2.0
#pragma once
// The reply arenas of all sessions, so that one session's idle memory can serve another.

#include "shm/arena-set.h"

#include <kj/mutex.h>
#include <kj/vector.h>

#include <set>

namespace ledger::server {

// Thread: every method is const and may be called from any thread. sweep() and trim() may close
// memory, 16 ms a GiB: not on an event loop.
class SessionArenas final {
public:
  // `arenas` is known until remove(), which must come before its last reference is dropped.
  void add(const shm::ArenaSet& arenas) const;
  void remove(const shm::ArenaSet& arenas) const;

  // Every session's ArenaSet::sweep(): to be called from time to time.
  void sweep() const;

  // Every session's ArenaSet::trim(): when memory is short.
  void trim() const;

private:
  kj::Vector<kj::Own<const shm::ArenaSet>> all() const;

  kj::MutexGuarded<std::set<const shm::ArenaSet*>> known;
};

}  // namespace ledger::server
