// SPDX-License-Identifier: Apache-2.0
#pragma once
// The core in this process: no socket, no copy, no protocol.

#include "tests/golden/ledger-under-test.h"

#include <kj/memory.h>

namespace ledger::golden {

kj::Own<LedgerUnderTest> newCoreLedger();

}  // namespace ledger::golden
