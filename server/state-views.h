// SPDX-License-Identifier: Apache-2.0
#pragma once
// States that a client reads by itself, in the store: Session.openView.

#include "schema/ledger.capnp.h"
#include "server/session.h"

namespace ledger::server {

// Pins a state for the session's client. Errors: UNKNOWN_STATE, QUOTA, OUT_OF_SHARED_MEMORY.
// Thread: the session's loop. The work is done on a worker.
kj::Promise<Result<StoreReferences::ReferredStore>> referToState(Session& session,
                                                                 const RootHash& state);

void fill(rpc::StateView::Builder view, StoreReferences::ReferredStore referred,
          const Workers& workers);

// Words of a message that fill() takes.
uint64_t viewWords(const StoreReferences::ReferredStore& referred);

}  // namespace ledger::server
