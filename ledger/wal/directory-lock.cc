// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/directory-lock.h"

#include <kj/debug.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/file.h>

namespace ledger {

Result<DirectoryLock> DirectoryLock::acquire(const kj::Directory& directory, kj::StringPtr name) {
  int directoryFd = -1;
  KJ_IF_MAYBE (fd, directory.getFd()) {
    directoryFd = *fd;
  } else {
    return DirectoryLock(kj::AutoCloseFd());
  }

  int fd;
  KJ_SYSCALL_HANDLE_ERRORS(fd =
                               openat(directoryFd, ".lock", O_RDONLY | O_CREAT | O_CLOEXEC, 0600)) {
    case EACCES:
    case EPERM:
    case EROFS:
      return makeError(Code::PERMISSION_DENIED, Reason::UNSPECIFIED,
                       "failed to acquire file lock at ", name,
                       "/.lock (permission denied): ", strerror(error));
    default:
      KJ_FAIL_SYSCALL("openat(.lock)", error, name);
  }
  kj::AutoCloseFd file(fd);

  KJ_SYSCALL_HANDLE_ERRORS(flock(file, LOCK_EX | LOCK_NB)) {
    case EWOULDBLOCK:
      return makeError(Code::FAILED_PRECONDITION, Reason::UNSPECIFIED,
                       "cannot acquire exclusive lock at ", name,
                       "/.lock: another process is already using this directory");
    default:
      KJ_FAIL_SYSCALL("flock(.lock)", error, name);
  }
  return DirectoryLock(kj::mv(file));
}

}  // namespace ledger
