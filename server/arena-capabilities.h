// SPDX-License-Identifier: Apache-2.0
#pragma once
// Arenas as capabilities: the server's, opened for the client, and the client's, registered here.

#include "ledger/error.h"
#include "schema/ledger.capnp.h"
#include "server/session.h"

#include <kj/async.h>

#include <sys/types.h>

namespace ledger::server {

struct OpenedArena {
  rpc::Arena::Client arena;   // Carries a read-only descriptor; the client's to keep.
  uint64_t size;              // Bytes.
  kj::Array<kj::byte> token;  // To take it over the hand-over socket; empty if there is none.
};

// Errors: BAD_ARENA, QUOTA.
Result<OpenedArena> openArena(Session& session, uint32_t id);

struct RegisteredArena {
  uint32_t id;
  rpc::Registration::Client registration;
};

// `size` is what the client says its arena's length is. Errors: BAD_ARENA, QUOTA.
kj::Promise<Result<RegisteredArena>> registerArena(Session& session, rpc::Arena::Client arena,
                                                   uint64_t size);

struct OfferedArena {
  RegisteredArena registered;
  kj::Array<kj::byte> token;  // To give its memory with.
};

// The same, of memory that comes over the hand-over socket. Errors: QUOTA, and
// FAILED_PRECONDITION if the session does without that.
Result<OfferedArena> offerArena(Session& session, uint64_t size);

}  // namespace ledger::server
