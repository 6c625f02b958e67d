// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/small-disk.h"

#include <kj/debug.h>
#include <kj/io.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace ledger::testing {

namespace {

constexpr const char* FILLER = "/filler";

void writeTo(const char* path, const std::string& text) {
  int fd;
  KJ_SYSCALL(fd = open(path, O_WRONLY | O_CLOEXEC), path);
  kj::FdOutputStream(kj::AutoCloseFd(fd)).write(text.data(), text.size());
}

// Null: this process has mounts of its own now. Else why not.
kj::Maybe<kj::String> enterNamespace() {
  if (unshare(CLONE_NEWNS) != 0) {
    const auto user = getuid();
    const auto group = getgid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
      return kj::str("nobody here may make mount namespaces: ", strerror(errno));
    }
    writeTo("/proc/self/setgroups", "deny");
    writeTo("/proc/self/uid_map", "0 " + std::to_string(user) + " 1");
    writeTo("/proc/self/gid_map", "0 " + std::to_string(group) + " 1");
  }
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return kj::str("mounts cannot be made private here: ", strerror(errno));
  }
  return nullptr;
}

}  // namespace

kj::OneOf<kj::Own<SmallDisk>, kj::String> SmallDisk::create(uint64_t size) {
  static const auto refusal = enterNamespace();
  KJ_IF_MAYBE (why, refusal) {
    return kj::str(*why);
  }
  auto disk = kj::heap<SmallDisk>();
  auto options = kj::str("mode=0700,size=", size);
  if (mount("tmpfs", disk->path().c_str(), "tmpfs", 0, options.cStr()) != 0) {
    return kj::str("nobody here may mount a tmpfs: ", strerror(errno));
  }
  return kj::mv(disk);
}

SmallDisk::~SmallDisk() {
  umount2(folder.path().c_str(), MNT_DETACH);  // If it was mounted.
}

void SmallDisk::fill(uint64_t left) {
  struct statvfs disk;
  KJ_SYSCALL(statvfs(path().c_str(), &disk));
  const uint64_t free = uint64_t(disk.f_bavail) * disk.f_frsize;
  KJ_REQUIRE(free >= left, free, left);
  int fd;
  KJ_SYSCALL(fd = open((path() + FILLER).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  kj::AutoCloseFd file(fd);
  const int error = posix_fallocate(file, 0, free - left);
  KJ_REQUIRE(error == 0, strerror(error));
}

void SmallDisk::empty() {
  KJ_SYSCALL(unlink((path() + FILLER).c_str()));
}

}  // namespace ledger::testing
