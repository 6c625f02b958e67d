// SPDX-License-Identifier: Apache-2.0
#include "server/arena-capabilities.h"

#include <kj/debug.h>
#include <kj/io.h>

#include <fcntl.h>

namespace ledger::server {
namespace {

Error badArena(kj::String message) {
  return {Code::INVALID_ARGUMENT, Reason::BAD_ARENA, kj::mv(message)};
}

// An arena, or a segment of the store, that a client has opened. Keeps it from being taken for
// unused.
class ArenaServer final : public rpc::Arena::Server {
public:
  ArenaServer(kj::Own<Session> session, kj::Own<const shm::PeerReadable> arena, kj::AutoCloseFd fd,
              kj::Maybe<HandOverTokens::Token> token)
      : session(kj::mv(session)), arena(kj::mv(arena)), fd(kj::mv(fd)), token(kj::mv(token)) {
    ++this->session->openArenas;
  }
  ~ArenaServer() noexcept(false) { --session->openArenas; }

  kj::Maybe<int> getFd() override { return int(fd); }

private:
  kj::Own<Session> session;
  kj::Own<const shm::PeerReadable> arena;
  kj::AutoCloseFd fd;
  kj::Maybe<HandOverTokens::Token> token;  // Null: none was told. After `fd`, which it stands for.
};

class RegistrationServer final : public rpc::Registration::Server {
public:
  RegistrationServer(kj::Own<const PeerArenas> arenas, uint32_t id,
                     kj::Maybe<HandOverTokens::Token> token = nullptr)
      : arenas(kj::mv(arenas)), id(id), token(kj::mv(token)) {}
  ~RegistrationServer() noexcept(false) { arenas->remove(id); }

private:
  kj::Own<const PeerArenas> arenas;
  const uint32_t id;
  kj::Maybe<HandOverTokens::Token> token;  // Null: the memory did not come by one.
};

OpenedArena opened(Session& session, kj::Own<const shm::PeerReadable> arena, kj::AutoCloseFd fd) {
  const uint64_t size = arena->capacity();
  kj::Maybe<HandOverTokens::Token> token;
  kj::Array<kj::byte> told;
  KJ_IF_MAYBE (user, session.terms.handOverUser) {
    auto& issued = token.emplace(session.host.handOverTokens.forTaking(*user, fd));
    told = kj::heapArray(issued.bytes());
  }
  return {kj::heap<ArenaServer>(kj::addRef(session), kj::mv(arena), kj::mv(fd), kj::mv(token)),
          size, kj::mv(told)};
}

kj::Maybe<Error> noRoomForAnother(const Session& session) {
  const uint32_t most = session.host.limits.registeredArenas;
  if (session.peerArenas->count() < most) return nullptr;
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, most,
                   " arenas are registered, as many as may be");
}

Result<RegisteredArena> accept(Session& session, kj::Maybe<int> received, uint64_t size) {
  KJ_IF_MAYBE (error, noRoomForAnother(session)) return kj::mv(*error);
  KJ_IF_MAYBE (number, received) {
    int copy;
    KJ_SYSCALL(copy = fcntl(*number, F_DUPFD_CLOEXEC, 0));
    auto accepted = shm::PeerArena::accept(kj::AutoCloseFd(copy));
    KJ_IF_MAYBE (fault, accepted.tryGet<shm::PeerFault>()) return badArena(kj::mv(fault->message));
    auto& arena = accepted.get<kj::Own<const shm::PeerArena>>();
    if (arena->size() < size) {
      return badArena(kj::str("an arena of ", arena->size(), " bytes was said to have ", size));
    }
    const uint32_t id = session.arenas->takeId();
    session.peerArenas->expect(id);
    session.peerArenas->supply(id, kj::mv(arena));
    return RegisteredArena{id,
                           kj::heap<RegistrationServer>(kj::atomicAddRef(*session.peerArenas), id)};
  }
  return badArena(kj::str("the arena's capability came without a descriptor"));
}

}  // namespace

Result<OpenedArena> openArena(Session& session, uint32_t id) {
  if (session.openArenas >= session.host.limits.openArenas) {
    return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, session.openArenas,
                     " arenas are open, as many as may be");
  }
  KJ_IF_MAYBE (arena, session.arenas->find(id)) {
    auto fd = (*arena)->openReadOnly();
    return opened(session, kj::mv(*arena), kj::mv(fd));
  }
  KJ_IF_MAYBE (stored, session.references->open(id)) {
    return opened(session, kj::mv(stored->segment), kj::mv(stored->fd));
  }
  return badArena(kj::str("arena ", id, " does not exist, or no longer"));
}

kj::Promise<Result<RegisteredArena>> registerArena(Session& session, rpc::Arena::Client arena,
                                                   uint64_t size) {
  auto descriptor = arena.getFd();
  return descriptor
      .then([&session, size](kj::Maybe<int> fd) { return accept(session, kj::mv(fd), size); })
      .attach(kj::mv(arena));
}

Result<OfferedArena> offerArena(Session& session, uint64_t size) {
  KJ_IF_MAYBE (user, session.terms.handOverUser) {
    KJ_IF_MAYBE (error, noRoomForAnother(session)) return kj::mv(*error);
    const uint32_t id = session.arenas->takeId();
    session.peerArenas->expect(id);
    KJ_ON_SCOPE_FAILURE(session.peerArenas->remove(id));
    auto token = session.host.handOverTokens.forGiving(
        *user, kj::atomicAddRef(*session.peerArenas), id, size);
    auto told = kj::heapArray(token.bytes());
    return OfferedArena{{id, kj::heap<RegistrationServer>(kj::atomicAddRef(*session.peerArenas), id,
                                                          kj::mv(token))},
                        kj::mv(told)};
  }
  return makeError(Code::FAILED_PRECONDITION, Reason::UNSPECIFIED,
                   "this session has no hand-over: featureHandOver was not chosen");
}

}  // namespace ledger::server
