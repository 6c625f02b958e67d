// SPDX-License-Identifier: Apache-2.0
#pragma once
// The sessions that are open, and what each of them holds: for those who look after the server.

#include "server/access.h"
#include "server/peer-arenas.h"
#include "server/store-references.h"
#include "shm/arena-set.h"

#include <kj/mutex.h>
#include <kj/refcount.h>
#include <kj/time.h>

#include <atomic>
#include <map>

#include <sys/types.h>

namespace ledger::server {

// What a session is from its beginning to its end.
struct SessionFacts {
  // How the client comes by arenas.
  enum class Transport { INLINE, SHARED_MEMORY, HAND_OVER };

  kj::Maybe<uid_t> user;     // Null: not known.
  kj::Maybe<pid_t> process;  // Likewise; it may have ended, and another have its number.
  kj::String client;         // What it calls itself: any text, from outside.
  Access access;             // READ or WRITE.
  Transport transport;
  kj::TimePoint start;

  SessionFacts clone() const;
};

// A session at one moment.
struct SessionUse {
  uint64_t id;  // Never used again while the process runs.
  SessionFacts facts;
  uint32_t callsInFlight;
  shm::ArenaSetUse arenas;    // For replies.
  uint32_t registeredArenas;  // Of the client's memory, offered ones included.
  uint32_t pinnedStates;      // Kept by what it may read in the store.
};

// One session, as its place in the list. Thread: every method is const and may be called from any
// thread.
class ListedSession final : public kj::AtomicRefcounted {
public:
  ListedSession(SessionFacts facts, kj::Own<const shm::ArenaSet> arenas,
                kj::Own<const StoreReferences> references, kj::Own<const PeerArenas> peerArenas);

  void beginCall() const { calls.fetch_add(1, std::memory_order_relaxed); }
  void endCall() const { calls.fetch_sub(1, std::memory_order_relaxed); }
  uint32_t callsInFlight() const { return calls.load(std::memory_order_relaxed); }

  SessionUse use(uint64_t id) const;

private:
  const SessionFacts facts;
  const kj::Own<const shm::ArenaSet> arenas;
  const kj::Own<const StoreReferences> references;
  const kj::Own<const PeerArenas> peerArenas;
  mutable std::atomic<uint32_t> calls{0};
};

// Thread: every method is const and may be called from any thread.
class SessionList final {
public:
  // The session's id. It is listed until remove(), which must come before its last reference is
  // dropped.
  uint64_t add(const ListedSession& session) const;
  void remove(uint64_t id) const;

  // Oldest first. Each session as it is when it is looked at, not all at the same moment.
  kj::Array<SessionUse> snapshot() const;

private:
  struct State {
    uint64_t lastId = 0;
    std::map<uint64_t, const ListedSession*> sessions;
  };
  kj::MutexGuarded<State> state;
};

}  // namespace ledger::server
