// SPDX-License-Identifier: Apache-2.0
#pragma once
// A ledgerd process, through the client library.

#include "tests/golden/ledger-under-test.h"

#include <kj/async-io.h>

#include <string>

namespace ledger::golden {

// How registers are read and payloads travel.
enum class Way {
  SHM,
  INLINE,
  DIRECT  // As SHM, but registers are read in the server's store, through a view for each read.
};

// open() starts a process of the program `ledgerd`, close() stops it. `io` must outlive the ledger.
kj::Own<LedgerUnderTest> newDaemonLedger(kj::AsyncIoContext& io, std::string ledgerd,
                                         Way way);

// One that serves already; it is neither started nor stopped, and open() throws.
kj::Own<LedgerUnderTest> attachToLedgerd(kj::AsyncIoContext& io, std::string socket,
                                         Way way);

}  // namespace ledger::golden
