// SPDX-License-Identifier: Apache-2.0
#pragma once
// Our arenas: memfds that this process writes and the server reads.
//
// A request that does not fit inline has an arena to itself until the server drops the request's
// region. Arenas are registered once and used again; some memory is kept idle for that, since the
// first touch of a page costs far more than copying to it.

#include "client/transport.h"
#include "schema/ledger.capnp.h"
#include "shm/memfd.h"

#include <kj/refcount.h>
#include <kj/vector.h>

namespace ledger::client {

// Thread: the connection's.
class RequestArenas final {
public:
  struct Limits {
    uint32_t count;      // Arenas at a time, busy ones included.
    uint64_t bytes;      // Their lengths together.
    uint64_t idleBytes;  // Of these, kept while nothing is in flight.
  };

  RequestArenas(rpc::Session::Client session, const Limits& limits);
  ~RequestArenas() noexcept(false);

  // An arena of at least `bytes`. Null: over the limits, or refused by the kernel or the server.
  // Commits memory: 80 ms a GiB.
  kj::Promise<kj::Maybe<RequestRoom>> take(uint64_t bytes);

private:
  class Region;
  struct Arena;
  struct Pool;

  kj::Promise<kj::Maybe<RequestRoom>> makeArena(uint64_t bytes);
  RequestRoom lend(kj::Own<Arena> arena);

  rpc::Session::Client session;
  const Limits limits;
  kj::Own<Pool> pool;  // Shared with the regions, which may outlive this.
};

}  // namespace ledger::client
