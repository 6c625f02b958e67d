// SPDX-License-Identifier: Apache-2.0
#pragma once
// Accepts connections for as long as there is somebody to serve them.

#include <kj/async-io.h>
#include <kj/function.h>
#include <kj/timer.h>

namespace ledger::server {

// Gives each connection to `serve`, until the promise is dropped. While accepting fails, for want
// of descriptors, it is tried again from time to time. `receiver` and `timer` outlive the promise.
kj::Promise<void> acceptEach(kj::ConnectionReceiver& receiver, kj::Timer& timer,
                             kj::Function<void(kj::Own<kj::AsyncIoStream>)> serve);

}  // namespace ledger::server
