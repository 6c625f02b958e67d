// SPDX-License-Identifier: Apache-2.0
#pragma once
// From an address to a LedgerClient that outlives its connections.
//
// When the server goes away, calls in flight end at once with DISCONNECTED, and the next call
// connects again, with the same patience as the first time. Views stay readable throughout.

#include "client/backoff.h"
#include "client/connection.h"
#include "client/ledger-client.h"

#include <kj/async-io.h>
#include <kj/time.h>
#include <kj/timer.h>

namespace ledger::client {

// What becomes of a call that was in flight when the server went away.
enum class OnDisconnect {
  FAIL,        // DISCONNECTED. The caller knows whether to ask again.
  RETRY_ONCE,  // Asked once more, reads and Sets alike: a Set goes out under the same id.
};

struct ConnectOptions {
  // The server's Unix socket: a path, or "unix:" and a path ("unix-abstract:" works too).
  kj::StringPtr address = nullptr;

  ConnectionOptions connection = {};
  OnDisconnect onDisconnect = OnDisconnect::FAIL;

  // Over all attempts to connect; zero: one attempt. A refusal (versions without overlap, shared
  // memory not to be had) is final at once.
  kj::Duration connectTimeout = 30 * kj::SECONDS;
  kj::Duration handshakeTimeout = 10 * kj::SECONDS;  // One attempt.
  Backoff::Options backoff = {};

  // A call, connecting included. A call that takes longer fails with OVERLOADED.
  kj::Duration callTimeout = 60 * kj::SECONDS;
};

// Resolves once connected. Throws DISCONNECTED if no attempt came through in time, FAILED if the
// server refused. `network`, `timer`, `random` and `clock` must outlive the client.
//
// `clock` is the one that `timer` follows. A timer stands still between the loop's waits, so that
// time limits counted from its now() would count what the application computed before the call.
kj::Promise<kj::Own<LedgerClient>> connect(
    kj::Network& network, kj::Timer& timer, const ConnectOptions& options,
    RandomSource& random = RandomSource::system(),
    const kj::MonotonicClock& clock = kj::systemPreciseMonotonicClock());

}  // namespace ledger::client
