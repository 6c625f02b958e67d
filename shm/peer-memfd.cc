// SPDX-License-Identifier: Apache-2.0
#include "shm/peer-memfd.h"

#include <kj/debug.h>

#include <cerrno>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

namespace shm {
namespace {

using Cause = PeerFault::Cause;

kj::StringPtr kindOf(mode_t mode) {
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  return "no file";
}

// What it is instead, as far as the kernel knows without asking a file system.
PeerFault noMemfd(int fd) {
  struct statx stats = {};
  KJ_SYSCALL(statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stats));
  if (!S_ISREG(stats.stx_mode)) {
    return {Cause::NOT_A_FILE,
            kj::str("the descriptor is ", kindOf(stats.stx_mode), ", not a memfd")};
  }
  return {Cause::NOT_MEMFD, kj::str("the descriptor is a file, not a memfd")};
}

}  // namespace

kj::OneOf<uint64_t, PeerFault> checkPeerMemfd(int fd, int seals) {
  int flags;
  KJ_SYSCALL(flags = fcntl(fd, F_GETFL));
  if ((flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_WRONLY) {
    return PeerFault{Cause::NOT_READABLE, kj::str("the descriptor is not open for reading")};
  }

  // First of all: a file system of the peer's own may let every other question wait for ever.
  int has;
  KJ_SYSCALL_HANDLE_ERRORS(has = fcntl(fd, F_GET_SEALS)) {
    case EINVAL:
      return noMemfd(fd);
    default:
      KJ_FAIL_SYSCALL("fcntl(F_GET_SEALS)", error);
  }
  struct statfs fileSystem;
  KJ_SYSCALL(fstatfs(fd, &fileSystem));
  if (fileSystem.f_type == HUGETLBFS_MAGIC) {
    return PeerFault{Cause::NOT_MEMFD, kj::str("a memfd of huge pages is not accepted")};
  }
  if (fileSystem.f_type != TMPFS_MAGIC) return noMemfd(fd);
  if ((has & seals) != seals) {
    return PeerFault{Cause::NOT_SEALED, kj::str("the memfd has seals 0x", kj::hex(unsigned(has)),
                                                ", it needs 0x", kj::hex(unsigned(seals)))};
  }

  // Now that it cannot shrink.
  struct stat stats;
  KJ_SYSCALL(fstat(fd, &stats));
  return uint64_t(stats.st_size);
}

kj::Maybe<PeerFault> checkBounds(uint64_t offset, uint64_t length, uint64_t size) {
  if (offset <= size && length <= size - offset) return nullptr;
  return PeerFault{Cause::OUT_OF_BOUNDS, kj::str(length, " bytes at offset ", offset,
                                                 " are not within an arena of ", size, " bytes")};
}

}  // namespace shm
