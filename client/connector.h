// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes connections, trying again until one comes through or time is up.

#include "client/connect.h"
#include "client/session-client.h"

namespace ledger::client {

// Thread: the event loop's.
class Connector final {
public:
  // `clock`: see connect().
  Connector(kj::Network& network, kj::Timer& timer, const kj::MonotonicClock& clock,
            const ConnectOptions& options, RandomSource& random);

  // Throws as connect() does.
  kj::Promise<kj::Own<SessionClient>> connect();

private:
  struct Attempts {
    Backoff backoff;
    kj::TimePoint deadline;
    uint32_t count = 0;
  };
  // An exception here is one attempt's failure.
  using Outcome = kj::OneOf<kj::Own<Connection>, Error, kj::Exception>;

  kj::Promise<kj::Own<SessionClient>> attempt(kj::Own<Attempts> attempts);
  kj::Promise<Outcome> attemptOnce();
  kj::Promise<kj::Own<SessionClient>> attemptLater(kj::Own<Attempts> attempts,
                                                   kj::StringPtr reason);

  kj::Network& network;
  kj::Timer& timer;
  const kj::MonotonicClock& clock;
  RandomSource& random;
  const kj::String address;  // With its "unix:".
  const kj::String name;
  ConnectOptions options;  // Its texts are the two above.
};

}  // namespace ledger::client
