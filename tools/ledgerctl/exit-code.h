// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the process ends with, for scripts. Part of the interface: see --help.

namespace ledgerctl {

enum class ExitCode : int {
  OK = 0,
  REFUSED = 1,        // The ledger said no; `has`, `checkpoint export`: the state is not there.
  USAGE = 2,          // The command line, or a file that it names.
  NO_CONNECTION = 3,  // No server, or it went away, or it did not answer in time.
  NOT_PROVEN = 4,     // `verify`: the proof does not hold.
  DAMAGED = 4,        // `wal`, `checkpoint`: the files are damaged.
  INTERNAL = 5,       // A bug here or there, or the output could not be written.
};

}  // namespace ledgerctl
