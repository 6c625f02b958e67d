// SPDX-License-Identifier: Apache-2.0
#include "server/peer-arenas.h"

#include <kj/debug.h>

namespace ledger::server {

void PeerArenas::expect(uint32_t id) const {
  const bool added = arenas.lockExclusive()->emplace(id, nullptr).second;
  KJ_ASSERT(added, "an arena's id was used twice", id);
}

bool PeerArenas::supply(uint32_t id, kj::Own<const shm::PeerArena> arena) const {
  auto lock = arenas.lockExclusive();
  auto found = lock->find(id);
  if (found == lock->end() || found->second != nullptr) return false;
  found->second = kj::mv(arena);
  return true;
}

void PeerArenas::remove(uint32_t id) const {
  arenas.lockExclusive()->erase(id);
}

kj::Maybe<Error> PeerArenas::read(const rpc::ArenaSpan& span, kj::ArrayPtr<kj::byte> into) const {
  KJ_REQUIRE(span.length == into.size(), "wrong room for a span", span.length, into.size());
  kj::Own<const shm::PeerArena> arena;
  {
    auto lock = arenas.lockShared();
    auto found = lock->find(span.arena);
    if (found == lock->end()) {
      return makeError(Code::INVALID_ARGUMENT, Reason::BAD_ARENA, "arena ", span.arena,
                       " is not registered");
    }
    KJ_IF_MAYBE (supplied, found->second) {
      arena = kj::atomicAddRef(**supplied);
    } else {
      return makeError(Code::INVALID_ARGUMENT, Reason::BAD_ARENA, "arena ", span.arena,
                       " was offered, and its memory has not been handed over");
    }
  }
  KJ_IF_MAYBE (fault, arena->read(span.offset, into)) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_ARENA, "arena ", span.arena, ": ",
                     fault->message);
  }
  return nullptr;
}

}  // namespace ledger::server
