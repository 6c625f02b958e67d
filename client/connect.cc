// SPDX-License-Identifier: Apache-2.0
#include "client/connect.h"

#include "client/reconnecting-client.h"

namespace ledger::client {

kj::Promise<kj::Own<LedgerClient>> connect(kj::Network& network, kj::Timer& timer,
                                           const ConnectOptions& options, RandomSource& random,
                                           const kj::MonotonicClock& clock) {
  // One for all connections.
  auto reads = directReadsOf(options.connection);
  auto shared = options;
  shared.connection.reads = *reads;
  auto client = kj::heap<ReconnectingClient>(
      kj::heap<Connector>(network, timer, clock, shared, random), kj::mv(reads), timer, clock,
      options, random);
  auto ready = client->connect();
  return ready.then(
      [client = kj::mv(client)]() mutable -> kj::Own<LedgerClient> { return kj::mv(client); });
}

}  // namespace ledger::client
