// SPDX-License-Identifier: Apache-2.0
#pragma once
// Requests of the gRPC service, from their protobuf bytes (schema/ledger.proto) to what the ledger
// takes.
//
// A message is read twice where it lies. The first time it is only measured and checked, in the
// order in which flow-go's service looks; the second time keys are encoded anew, as the ledger has
// them, into memory that was asked for before. Values stay where they are.

#include "ledger/error.h"
#include "ledger/model.h"
#include "shm/memory-budget.h"

#include <kj/array.h>
#include <kj/string.h>

namespace ledger::server {

enum class GrpcMethod {
  INITIAL_STATE,
  HAS_STATE,
  GET_SINGLE_VALUE,
  GET,
  SET,
  PROVE,
  HEALTH_CHECK,
  HEALTH_WATCH,  // Answered more than once: see healthOf().
};

// A request that flow-go's service would execute. Views into the message, which outlives it.
struct GrpcRequest {
  RootHash state;
  kj::Array<EncodedKey> keys;  // One for GET_SINGLE_VALUE.
  kj::Array<Value> values;     // As many, for SET.

  kj::Array<kj::byte> encodedKeys;  // What `keys` point into.
  shm::Reservation reservation;
};

// `method` is none of INITIAL_STATE and HEALTH_CHECK. Errors carry the code and text that flow-go
// answers with; beyond them: OUT_OF_MEMORY, and TOO_LARGE for a Set of more registers than
// flow-go's client can read in the answer.
Result<GrpcRequest> parseGrpcRequest(GrpcMethod method, kj::ArrayPtr<const kj::byte> message,
                                     const shm::MemoryBudget& budget);

// For messages of which nothing is of interest: null if it is well-formed.
kj::Maybe<Error> checkGrpcMessage(kj::ArrayPtr<const kj::byte> message);

// The service that is asked about in a grpc.health.v1.HealthCheckRequest; empty: the whole server.
Result<kj::ArrayPtr<const kj::byte>> parseHealthCheck(kj::ArrayPtr<const kj::byte> message);

}  // namespace ledger::server
