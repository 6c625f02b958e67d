// SPDX-License-Identifier: Apache-2.0
#pragma once
// What each command does. Answers go to `output`; the result is the process's exit code.

#include "client/ledger-client.h"
#include "tools/ledgerctl/options.h"
#include "tools/ledgerctl/output.h"

#include <kj/async.h>
#include <kj/timer.h>

namespace ledgerctl {

// What a command works on, from arguments, files and standard input.
struct Input {
  kj::Array<Key> keys;        // get, prove.
  kj::Array<Update> updates;  // set.
};

// To be read before anything else: it may take long, and needs no server. Else the exit code of
// what is wrong with it.
kj::OneOf<Input, ExitCode> readInput(const Options& options, Output& output);

// The commands that need a server. Throws where the client does.
ExitCode runCommand(const Options& options, const Input& input,
                    ledger::client::LedgerClient& client, kj::Timer& timer,
                    kj::WaitScope& waitScope, Output& output);

// Needs no server.
ExitCode runVerify(const Options& options, Output& output);

}  // namespace ledgerctl
