// SPDX-License-Identifier: Apache-2.0
#pragma once
// Arenas, and segments of the store, that are closed here but may still be open at a peer.
//
// A mapping cannot be revoked: as long as a peer keeps one, or a descriptor, the pages exist, even
// after its session ended. Such an arena stays counted in its budgets, so that a peer that hoards
// memory runs into its own limits and not into the machine's. An honest peer unmaps before it drops
// the region, and then an arena is gone as soon as it is retired.

#include "shm/peer-readable.h"

#include <kj/mutex.h>
#include <kj/vector.h>

namespace shm {

// One for a process, shared by its sessions.
// Thread: every method is const and may be called from any thread.
class RetiredArenas final : public kj::AtomicRefcounted {
public:
  // Drops the arena if no peer holds it, else keeps it until collect() finds that none does.
  void add(kj::Own<const PeerReadable> arena) const;

  // Drops what no peer holds any more; returns the bytes that stay. A few microseconds an arena:
  // to be called when memory is short, and from time to time.
  uint64_t collect() const;

  uint64_t bytes() const;

private:
  kj::MutexGuarded<kj::Vector<kj::Own<const PeerReadable>>> held;
};

}  // namespace shm
