// SPDX-License-Identifier: Apache-2.0
#pragma once
// SIGTERM and SIGINT as something to look at and to wait for, instead of something that interrupts.

#include <kj/async-unix.h>
#include <kj/io.h>

namespace ledger::server {

// Make it before any thread: threads inherit that the signals are blocked. They stay blocked.
class TerminationSignals final {
public:
  TerminationSignals();
  KJ_DISALLOW_COPY(TerminationSignals);

  // The signal that came first, if one has come.
  kj::Maybe<int> received();

  // Resolves with the signal, at once if it has come already.
  kj::Promise<int> whenReceived(kj::UnixEventPort& port);

private:
  kj::AutoCloseFd fd;
  kj::Maybe<int> first;
};

}  // namespace ledger::server
