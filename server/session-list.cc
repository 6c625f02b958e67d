// SPDX-License-Identifier: Apache-2.0
#include "server/session-list.h"

#include <kj/vector.h>

namespace ledger::server {

SessionFacts SessionFacts::clone() const {
  return {user, process, kj::str(client), access, transport, start};
}

ListedSession::ListedSession(SessionFacts facts, kj::Own<const shm::ArenaSet> arenas,
                             kj::Own<const StoreReferences> references,
                             kj::Own<const PeerArenas> peerArenas)
    : facts(kj::mv(facts)),
      arenas(kj::mv(arenas)),
      references(kj::mv(references)),
      peerArenas(kj::mv(peerArenas)) {}

SessionUse ListedSession::use(uint64_t id) const {
  return {id,
          facts.clone(),
          callsInFlight(),
          arenas->use(),
          peerArenas->count(),
          references->states()};
}

uint64_t SessionList::add(const ListedSession& session) const {
  auto lock = state.lockExclusive();
  const uint64_t id = ++lock->lastId;
  lock->sessions.emplace(id, &session);
  return id;
}

void SessionList::remove(uint64_t id) const {
  state.lockExclusive()->sessions.erase(id);
}

kj::Array<SessionUse> SessionList::snapshot() const {
  struct Held {
    uint64_t id;
    kj::Own<const ListedSession> session;
  };
  kj::Vector<Held> all;
  {
    auto lock = state.lockShared();
    all.reserve(lock->sessions.size());
    for (auto& [id, session] : lock->sessions) all.add(Held{id, kj::atomicAddRef(*session)});
  }
  return KJ_MAP(each, all) { return each.session->use(each.id); };
}

}  // namespace ledger::server
