// SPDX-License-Identifier: Apache-2.0
#pragma once
// The connections of one event loop: accepted, served until they end, and written out before a
// shutdown.

#include "server/capnp-service.h"
#include "server/host.h"

#include <kj/async-io.h>

namespace ledger::server {

// Thread: its loop.
class Connections final : private kj::TaskSet::ErrorHandler {
public:
  // `host` and `calls` outlive it.
  Connections(const Host& host, InFlight& calls);
  ~Connections() noexcept(false);

  // Serves one. `stream` must be able to carry descriptors.
  void serve(kj::Own<kj::AsyncIoStream> stream, const SocketTerms& socket);

  // Resolves once every reply that is ready has gone to the kernel.
  kj::Promise<void> whenWritten();

  uint32_t count() const { return open; }

private:
  class Connection;

  void taskFailed(kj::Exception&& exception) override;

  const Host& host;
  InFlight& calls;
  uint32_t open = 0;
  InFlight writes;    // Messages on their way to the kernel.
  kj::TaskSet tasks;  // Last: its connections use all of the above.
};

}  // namespace ledger::server
