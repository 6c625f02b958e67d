// SPDX-License-Identifier: Apache-2.0
#include "client/connect.h"

#include "client/reconnecting-client.h"

namespace ledger::client {

kj::Promise<kj::Own<LedgerClient>> connect(kj::Network& network, kj::Timer& timer,
                                           const ConnectOptions& options, RandomSource& random,
                                           const kj::MonotonicClock& clock) {
  auto client = kj::heap<ReconnectingClient>(
      kj::heap<Connector>(network, timer, clock, options, random), timer, clock, options, random);
  auto ready = client->connect();
  return ready.then(
      [client = kj::mv(client)]() mutable -> kj::Own<LedgerClient> { return kj::mv(client); });
}

}  // namespace ledger::client
