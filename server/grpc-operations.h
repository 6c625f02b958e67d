// SPDX-License-Identifier: Apache-2.0
#pragma once
// Calls of the gRPC service, from the bytes of a request to those of a reply. Nothing here knows of
// connections: it runs on a worker, or, where the work is small, on the thread that reads.
//
// Code and text of every refusal are those of flow-go's service, whose clients know no other way to
// tell causes apart. What it finds out too late is refused before any work is done: a reply that is
// too long, a Set whose answer its client cannot read, a request that nobody waits for any more.

#include "ledger/ledger.h"
#include "server/grpc-requests.h"
#include "server/host.h"
#include "shm/memory-budget.h"

#include <kj/array.h>
#include <kj/string.h>

namespace ledger::server {

// A message to be sent.
struct GrpcReply {
  shm::Reservation reservation;
  kj::Array<kj::byte> bytes;
};

// What a path such as "/ledger.LedgerService/Get" names. Error: UNIMPLEMENTED.
Result<GrpcMethod> findGrpcMethod(kj::StringPtr path);

// Whether a request is so little work that it need not go to a worker.
bool isSmallGrpcCall(GrpcMethod method, uint64_t requestBytes);

// Error: the message is over --max-request-size.
kj::Maybe<Error> checkGrpcRequestSize(uint64_t requestBytes, const ServiceLimits& limits);

// Executes one call; `method` is not HEALTH_WATCH. An Error's code is the status, its message the
// text that goes with it.
Result<GrpcReply> answerGrpcCall(const Host& host, GrpcMethod method,
                                 kj::ArrayPtr<const kj::byte> request, const Stop& stop);

// What grpc.health.v1.Health says of a service, with its numbers.
enum class GrpcHealth : uint8_t { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

// Of the service that a HealthCheckRequest asks about, or of the whole server.
Result<GrpcHealth> healthOf(const Host& host, kj::ArrayPtr<const kj::byte> request);
Result<GrpcReply> healthReply(const Host& host, GrpcHealth health);

}  // namespace ledger::server
