// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tokens for the hand-over socket: each stands for one descriptor that one user may take or give,
// once, for a limited time.
//
// A token is random. Its first bytes say where it is kept; all of it is then compared in constant
// time, so that answers tell nothing about tokens that are near to the one asked for. What a token
// stands for belongs to the session that told it to its client: it ends with that, or before.

#include "ledger/error.h"
#include "schema/hand-over.h"
#include "server/peer-arenas.h"

#include <kj/io.h>
#include <kj/mutex.h>
#include <kj/one-of.h>
#include <kj/time.h>

#include <map>

#include <sys/types.h>

namespace ledger::server {

// Thread: every method is const and may be called from any thread.
class HandOverTokens final {
public:
  // How long a token is good for.
  static constexpr kj::Duration VALIDITY = 1 * kj::MINUTES;

  explicit HandOverTokens(const kj::MonotonicClock& clock) : clock(clock) {}
  KJ_DISALLOW_COPY(HandOverTokens);

  // Move-only. Good for nothing once it is dropped, which must come before the tokens' end.
  class Token final {
  public:
    Token(Token&& other) : owner(other.owner), secret(other.secret) { other.owner = nullptr; }
    ~Token() noexcept(false);

    kj::ArrayPtr<const kj::byte> bytes() const { return {secret.data(), secret.size()}; }

  private:
    friend class HandOverTokens;
    Token(const HandOverTokens& owner, const rpc::HandOverToken& secret)
        : owner(owner), secret(secret) {}

    kj::Maybe<const HandOverTokens&> owner;  // Null once moved from.
    rpc::HandOverToken secret;
  };

  // Lets `user` take `fd`, which stays open while the token lives.
  Token forTaking(uid_t user, int fd) const;

  // Lets `user` give the memory of the arena `id`, which `arenas` expects: `size` bytes at least.
  Token forGiving(uid_t user, kj::Own<const PeerArenas> arenas, uint32_t id, uint64_t size) const;

  // What a user presents. A token that is refused for the user or the direction is not used up; one
  // that came with memory that is refused is.
  // Errors: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT (BAD_ARENA: the memory).
  Result<kj::AutoCloseFd> take(const rpc::HandOverToken& token, uid_t user) const;
  kj::Maybe<Error> give(const rpc::HandOverToken& token, uid_t user, kj::AutoCloseFd fd) const;

private:
  struct Taking {
    int fd;
  };
  struct Giving {
    kj::Own<const PeerArenas> arenas;
    uint32_t id;
    uint64_t size;
  };
  struct Promised {
    rpc::HandOverToken secret;
    uid_t user;
    kj::TimePoint end;
    kj::OneOf<Taking, Giving> what;
    bool used = false;
  };
  using Kept = std::map<uint64_t, Promised>;

  Token add(uid_t user, kj::OneOf<Taking, Giving> what) const;
  Result<Promised*> find(Kept& kept, const rpc::HandOverToken& token, uid_t user) const;
  void remove(const rpc::HandOverToken& token) const;

  const kj::MonotonicClock& clock;
  kj::MutexGuarded<Kept> kept;  // By the first bytes of the token.
};

}  // namespace ledger::server
