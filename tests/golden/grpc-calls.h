// SPDX-License-Identifier: Apache-2.0
#pragma once
// Replays what a client and flow-go's ledger service said to each other, byte by byte, with a
// ledgerd in the service's place.

#include "tests/golden/report.h"

#include <kj/async-io.h>

#include <string>

namespace ledger::golden {

// `folder` holds calls.jsonl and its companions, and stands beside the set whose directory they
// were made on. `ledgerd` is the program.
void runGrpcCalls(kj::AsyncIoContext& io, const std::string& ledgerd, const std::string& folder,
                  Report& report);

}  // namespace ledger::golden
