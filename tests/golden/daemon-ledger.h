// SPDX-License-Identifier: Apache-2.0
#pragma once
// A ledgerd process, through the client library.

#include "client/connection.h"
#include "tests/golden/ledger-under-test.h"

#include <kj/async-io.h>

#include <string>

namespace ledger::golden {

// open() starts a process of the program `ledgerd`, close() stops it. `io` must outlive the ledger.
kj::Own<LedgerUnderTest> newDaemonLedger(kj::AsyncIoContext& io, std::string ledgerd,
                                         client::TransportChoice transport);

// One that serves already; it is neither started nor stopped, and open() throws.
kj::Own<LedgerUnderTest> attachToLedgerd(kj::AsyncIoContext& io, std::string socket,
                                         client::TransportChoice transport);

}  // namespace ledger::golden
