// SPDX-License-Identifier: Apache-2.0
#pragma once
// Arenas as capabilities: the server's, opened for the client, and the client's, registered here.

#include "ledger/error.h"
#include "schema/ledger.capnp.h"
#include "server/session.h"

#include <kj/async.h>

namespace ledger::server {

struct OpenedArena {
  rpc::Arena::Client arena;  // Carries a read-only descriptor; the client's to keep.
  uint64_t size;             // Bytes.
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

}  // namespace ledger::server
