// SPDX-License-Identifier: Apache-2.0
#pragma once
// One process at a time in a ledger's directory: flock(2) on its file `.lock`, which is flow-go's
// lock too. The file stays when the lock is given back.

#include "ledger/error.h"

#include <kj/filesystem.h>
#include <kj/io.h>

namespace ledger {

// Held as long as this lives, and by a killed process no longer.
class DirectoryLock final {
public:
  // Errors: FAILED_PRECONDITION if another process, or another lock of this one, has it, in
  // flow-go's words; PERMISSION_DENIED if the file may not be opened. `name` is for messages. A
  // directory that is not on disk belongs to this process anyway: there is nothing to lock.
  static Result<DirectoryLock> acquire(const kj::Directory& directory, kj::StringPtr name);

  DirectoryLock(DirectoryLock&&) = default;
  DirectoryLock& operator=(DirectoryLock&&) = default;

private:
  explicit DirectoryLock(kj::AutoCloseFd file) : file(kj::mv(file)) {}

  kj::AutoCloseFd file;  // Closing it gives the lock back.
};

}  // namespace ledger
