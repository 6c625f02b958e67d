// SPDX-License-Identifier: Apache-2.0
#pragma once
// The contract's interfaces, served: one method each, no logic of their own.

#include "schema/ledger.capnp.h"
#include "server/session.h"

namespace ledger::server {

// What holds for all clients of one socket.
struct SocketTerms {
  Access most = Access::WRITE;              // Whoever they are.
  kj::Maybe<kj::StringPtr> handOverSocket;  // Its path, for them. Null: they have none.
};

// The bootstrap capability of one connection. `host` and `calls` outlive it. `client`: who is at
// the other end, if the kernel says.
rpc::Ledgerd::Client newLedgerd(const Host& host, InFlight& calls, kj::Own<ConnectionLoad> load,
                                kj::Maybe<PeerIdentity> client, const SocketTerms& socket);

}  // namespace ledger::server
