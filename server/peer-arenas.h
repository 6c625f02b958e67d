// SPDX-License-Identifier: Apache-2.0
#pragma once
// The arenas that one client has registered for its requests, by id.

#include "ledger/error.h"
#include "schema/bulk.h"
#include "shm/peer-arena.h"

#include <kj/mutex.h>
#include <kj/refcount.h>

#include <map>

namespace ledger::server {

// Thread: every method is const and may be called from any thread.
class PeerArenas final : public kj::AtomicRefcounted {
public:
  // An id has its place from expect() to remove(), and its memory from supply().
  void expect(uint32_t id) const;
  bool supply(uint32_t id, kj::Own<const shm::PeerArena> arena) const;  // False: no longer expected.
  void remove(uint32_t id) const;  // Reads that have begun go on.
  uint32_t count() const { return arenas.lockShared()->size(); }

  // Copies a span to `into`, which has its length. Not on an event loop. Error: BAD_ARENA.
  kj::Maybe<Error> read(const rpc::ArenaSpan& span, kj::ArrayPtr<kj::byte> into) const;

private:
  // Null: not supplied yet.
  kj::MutexGuarded<std::map<uint32_t, kj::Maybe<kj::Own<const shm::PeerArena>>>> arenas;
};

}  // namespace ledger::server
