// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is done with the files of a log, without a server: `wal dump` and `wal verify`. Answers go
// to `output`; the result is the process's exit code.

#include "tools/ledgerctl/options.h"
#include "tools/ledgerctl/output.h"

namespace ledgerctl {

// Memory: one record, and what it decodes to.
ExitCode runWalDump(const Options& options, Output& output);
ExitCode runWalVerify(const Options& options, Output& output);

}  // namespace ledgerctl
