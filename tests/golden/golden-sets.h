// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finds out what a directory of golden data holds, and runs it.

#include "tests/golden/ledger-under-test.h"
#include "tests/golden/report.h"

#include <kj/function.h>

#include <string>

namespace ledger::golden {

// `folder` is one set, or a directory of sets; a set is known by its files, not by its name. What
// is not for this version of ledgerd is reported as skipped. Each scenario runs once for each of
// `ways`; a folder of recorded gRPC calls is for `onGrpcCalls`.
void runGolden(const std::string& folder, kj::ArrayPtr<kj::Own<LedgerUnderTest>> ways,
               Report& report, kj::ConstFunction<void(const std::string& folder)> onGrpcCalls);

}  // namespace ledger::golden
