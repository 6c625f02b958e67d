// SPDX-License-Identifier: Apache-2.0
#pragma once
// scenario-large: many registers, in a binary file of updates with queries between them.

#include "tests/golden/ledger-under-test.h"
#include "tests/golden/report.h"

#include <string>

namespace ledger::golden {

// Replays sets.bin with its queries, then starts on the checkpoint that flow-go wrote and asks the
// queries of the states in it again.
void runLargeSet(LedgerUnderTest& ledger, const std::string& folder, Report& report);

}  // namespace ledger::golden
