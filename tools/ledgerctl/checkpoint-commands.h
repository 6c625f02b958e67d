// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is done with the files of a checkpoint, without a server. Answers go to `output`; the result
// is the process's exit code.

#include "tools/ledgerctl/options.h"
#include "tools/ledgerctl/output.h"

namespace ledgerctl {

// From the ends of the files alone.
ExitCode runCheckpointInfo(const Options& options, Output& output);
ExitCode runCheckpointRoots(const Options& options, Output& output);

// Reads all of it.
ExitCode runCheckpointVerify(const Options& options, Output& output);

// Loads all of it, within --memory-limit.
ExitCode runCheckpointExport(const Options& options, Output& output);

// That read or write parts of a checkpoint side by side.
unsigned partThreads();

}  // namespace ledgerctl
