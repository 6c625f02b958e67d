// SPDX-License-Identifier: Apache-2.0
#pragma once
// The contract's requests and replies, to our types and back.
//
// A request is refused here, with the error that the server would give, where sending it would cost
// the connection. A reply that breaks the contract throws: FAILED, with what was wrong.

#include "client/ledger-client.h"
#include "client/request-payload.h"
#include "client/transport.h"
#include "schema/ledger.capnp.h"

namespace ledger::client {

// --- Requests

void fill(rpc::StateRequest::Builder request, const RootHash& state);
void fill(rpc::GetSingleValueRequest::Builder request, const RootHash& state, EncodedKey key);
void fill(rpc::GetRequest::Builder request, const RootHash& state,
          kj::ArrayPtr<const EncodedKey> keys, PayloadWriter& payloads);
void fill(rpc::SetRequest::Builder request, const Operation::Set& set, PayloadWriter& payloads);
void fill(rpc::ProveRequest::Builder request, const RootHash& state,
          kj::ArrayPtr<const EncodedKey> keys, PayloadWriter& payloads);

// What an operation puts into Bulks, and all that it counts against Limits.requestBytes.
struct RequestSize {
  uint64_t bulkBytes = 0;
  uint64_t bytes = 0;
};
RequestSize sizeOf(const Operation& operation);

// An item that no server takes, or a Set with unequal lists. Null: fine.
kj::Maybe<Error> refuse(const Operation& operation);

// --- Replies. Readers must stay valid until the promise resolves.

Error readError(rpc::Error::Reader error);
RootHash readHash(capnp::Data::Reader bytes);

Result<RootHash> readState(rpc::StateReply::Reader reply);
Result<bool> readFound(rpc::HasStateReply::Reader reply);
Result<uint64_t> readCount(rpc::CountReply::Reader reply);
Result<kj::Array<RootHash>> readStates(rpc::StatesReply::Reader reply);
Result<uint64_t> readCheckpoint(rpc::CheckpointReply::Reader reply);
Result<ServerInfo> readInfo(rpc::InfoReply::Reader reply, TransportKind transport);
Result<kj::Array<SessionInfo>> readSessions(rpc::SessionsReply::Reader reply);
ServerLimits readLimits(rpc::Limits::Reader limits);
kj::Promise<Result<View>> readValue(rpc::ValueReply::Reader reply, Transport& transport);
kj::Promise<Result<View>> readProof(rpc::ProveReply::Reader reply, Transport& transport);
// `count` values are expected.
kj::Promise<Result<Values>> readValues(rpc::GetReply::Reader reply, size_t count,
                                       Transport& transport);

}  // namespace ledger::client
