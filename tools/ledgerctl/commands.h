// SPDX-License-Identifier: Apache-2.0
#pragma once
// What each command does. Answers go to `output`; the result is the process's exit code.

#include "client/ledger-client.h"
#include "tools/ledgerctl/options.h"
#include "tools/ledgerctl/output.h"

#include <kj/async.h>

namespace ledgerctl {

// All commands but `verify`. Throws where the client does.
ExitCode runCommand(const Options& options, ledger::client::LedgerClient& client,
                    kj::WaitScope& waitScope, Output& output);

// Needs no server.
ExitCode runVerify(const Options& options, Output& output);

}  // namespace ledgerctl
