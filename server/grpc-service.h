// SPDX-License-Identifier: Apache-2.0
#pragma once
// flow-go's ledger service over gRPC (schema/ledger.proto), beside the Cap'n Proto service and on
// the same ledger: a flow-go node talks to ledgerd as it does to a service of its own.
//
// The library does HTTP/2 and no more. Its service is the generic one, which takes calls of any
// name and leaves messages as bytes; what they mean is in grpc-operations.h. Connections come from
// outside, accepted and configured.

#include "server/host.h"

#include <kj/io.h>
#include <kj/time.h>

namespace ledger::server {

// Thread: the owner's.
class GrpcService final {
public:
  // Begins `threads` threads that each look after their share of the connections. Small calls are
  // answered on them, the rest by the workers of `host`, which outlives this.
  GrpcService(const Host& host, uint32_t threads);

  // stop(0), if it has not been called.
  ~GrpcService() noexcept(false);
  KJ_DISALLOW_COPY(GrpcService);

  // Serves a connection, whose descriptor is non-blocking, until either side ends it.
  void serve(kj::AutoCloseFd connection);

  // Once `host` is shutting down: lets calls in flight finish for as long as `timeout` says, then
  // cancels them; waits until all have ended.
  void stop(kj::Duration timeout);

private:
  struct Impl;
  kj::Own<Impl> impl;
};

}  // namespace ledger::server
