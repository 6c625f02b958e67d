// SPDX-License-Identifier: Apache-2.0
#include "server/hand-over-tokens.h"

#include "schema/little-endian.h"

#include <kj/debug.h>

#include <fcntl.h>
#include <sys/random.h>

namespace ledger::server {
namespace {

uint64_t placeOf(const rpc::HandOverToken& token) {
  return rpc::loadLittle<uint64_t>(token.data());
}

// Takes as long wherever the two differ.
bool isSame(const rpc::HandOverToken& left, const rpc::HandOverToken& right) {
  volatile kj::byte difference = 0;
  for (size_t i = 0; i < left.size(); ++i) difference = difference | (left[i] ^ right[i]);
  return difference == 0;
}

rpc::HandOverToken randomToken() {
  rpc::HandOverToken token;
  ssize_t count;
  KJ_SYSCALL(count = getrandom(token.data(), token.size(), 0));
  KJ_ASSERT(size_t(count) == token.size(), "so few bytes come in one piece", count);
  return token;
}

Error badArena(kj::String message) {
  return {Code::INVALID_ARGUMENT, Reason::BAD_ARENA, kj::mv(message)};
}

// Of a token that is there, for the other direction.
Error otherDirection(kj::StringPtr what) {
  return makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, "this token is for ", what);
}

}  // namespace

HandOverTokens::Token::~Token() noexcept(false) {
  KJ_IF_MAYBE (tokens, owner) tokens->remove(secret);
}

HandOverTokens::Token HandOverTokens::forTaking(uid_t user, int fd) const {
  return add(user, Taking{fd});
}

HandOverTokens::Token HandOverTokens::forGiving(uid_t user, kj::Own<const PeerArenas> arenas,
                                                uint32_t id, uint64_t size) const {
  return add(user, Giving{kj::mv(arenas), id, size});
}

HandOverTokens::Token HandOverTokens::add(uid_t user, kj::OneOf<Taking, Giving> what) const {
  const auto end = clock.now() + VALIDITY;
  auto lock = kept.lockExclusive();
  for (;;) {
    const auto token = randomToken();
    auto& place = *lock;
    if (place.count(placeOf(token)) > 0) continue;
    place.emplace(placeOf(token), Promised{token, user, end, kj::mv(what)});
    return Token(*this, token);
  }
}

void HandOverTokens::remove(const rpc::HandOverToken& token) const {
  kept.lockExclusive()->erase(placeOf(token));
}

Result<HandOverTokens::Promised*> HandOverTokens::find(Kept& kept, const rpc::HandOverToken& token,
                                                       uid_t user) const {
  auto found = kept.find(placeOf(token));
  if (found == kept.end() || !isSame(found->second.secret, token)) {
    return makeError(Code::NOT_FOUND, Reason::UNSPECIFIED,
                     "this token is not known: what it was for has been given up, or its session "
                     "has ended, or it never was one");
  }
  auto& promised = found->second;
  if (promised.user != user) {
    return makeError(Code::PERMISSION_DENIED, Reason::UNSPECIFIED,
                     "this token belongs to a session of another user than ", user);
  }
  if (promised.used) {
    return makeError(Code::NOT_FOUND, Reason::UNSPECIFIED,
                     "this token has been used: it is good for one hand-over");
  }
  if (clock.now() >= promised.end) {
    return makeError(Code::NOT_FOUND, Reason::UNSPECIFIED,
                     "this token has expired: it is good for ", VALIDITY / kj::SECONDS, " seconds");
  }
  return &promised;
}

Result<kj::AutoCloseFd> HandOverTokens::take(const rpc::HandOverToken& token, uid_t user) const {
  auto lock = kept.lockExclusive();
  auto found = find(*lock, token, user);
  KJ_IF_MAYBE (error, found.tryGet<Error>()) return kj::mv(*error);
  auto& promised = *found.get<Promised*>();
  KJ_IF_MAYBE (taking, promised.what.tryGet<Taking>()) {
    int copy;
    KJ_SYSCALL(copy = fcntl(taking->fd, F_DUPFD_CLOEXEC, 0));
    promised.used = true;
    return kj::AutoCloseFd(copy);
  }
  return otherDirection("giving memory, not for taking it");
}

kj::Maybe<Error> HandOverTokens::give(const rpc::HandOverToken& token, uid_t user,
                                      kj::AutoCloseFd fd) const {
  kj::Maybe<Giving> wanted;
  {
    auto lock = kept.lockExclusive();
    auto found = find(*lock, token, user);
    KJ_IF_MAYBE (error, found.tryGet<Error>()) return kj::mv(*error);
    auto& promised = *found.get<Promised*>();
    KJ_IF_MAYBE (giving, promised.what.tryGet<Giving>()) {
      promised.used = true;
      wanted = Giving{kj::atomicAddRef(*giving->arenas), giving->id, giving->size};
    } else {
      return otherDirection("taking memory, not for giving it");
    }
  }
  auto& giving = KJ_ASSERT_NONNULL(wanted);
  auto accepted = shm::PeerArena::accept(kj::mv(fd));
  KJ_IF_MAYBE (fault, accepted.tryGet<shm::PeerFault>()) return badArena(kj::mv(fault->message));
  auto& arena = accepted.get<kj::Own<const shm::PeerArena>>();
  if (arena->size() < giving.size) {
    return badArena(
        kj::str("an arena of ", arena->size(), " bytes was said to have ", giving.size));
  }
  if (!giving.arenas->supply(giving.id, kj::mv(arena))) {
    return badArena(kj::str("the registration of arena ", giving.id, " has been dropped"));
  }
  return nullptr;
}

}  // namespace ledger::server
