// SPDX-License-Identifier: Apache-2.0
#include "server/listen-socket.h"

#include <kj/debug.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace ledger::server {
namespace {

constexpr int BACKLOG = 512;

sockaddr_un addressOf(kj::StringPtr path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  KJ_REQUIRE(path.size() > 0 && path.size() < sizeof(address.sun_path),
             "a socket's path has 1 to 107 bytes", path);
  memcpy(address.sun_path, path.begin(), path.size());
  return address;
}

kj::AutoCloseFd newSocket() {
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return kj::AutoCloseFd(fd);
}

// Throws if the path belongs to a socket that is served, or to anything but a socket. False:
// nothing is there. True: a socket file that a dead process has left.
bool isStale(kj::StringPtr path, const sockaddr_un& address) {
  struct stat found;
  if (lstat(path.cStr(), &found) < 0) {
    if (errno == ENOENT) return false;
    KJ_FAIL_SYSCALL("lstat", errno, path);
  }
  if (!S_ISSOCK(found.st_mode)) {
    KJ_FAIL_REQUIRE("cannot serve here: the path exists and is not a socket", path);
  }

  auto probe = newSocket();
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  const bool refused = connect(probe, generic, sizeof(address)) < 0 && errno == ECONNREFUSED;
  if (!refused) KJ_FAIL_REQUIRE("cannot serve here: another process serves this socket", path);
  return true;
}

}  // namespace

void ListenSocket::refuseIfTaken(kj::StringPtr path) {
  isStale(path, addressOf(path));
}

ListenSocket::ListenSocket(kj::StringPtr path, mode_t mode, const SocketOwner& owner)
    : name(kj::str(path)), fd(newSocket()) {
  const auto address = addressOf(path);
  if (isStale(path, address)) {
    KJ_SYSCALL(unlink(path.cStr()), path);
  }

  // The file takes its permissions from the unbound socket, less the umask: never more than `mode`.
  // Until listen() every connection is refused, so nobody gets in before they are exact.
  KJ_SYSCALL(fchmod(fd, mode), path);
  KJ_SYSCALL(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
             "cannot make the socket", path);
  KJ_ON_SCOPE_FAILURE(unlink(path.cStr()));
  KJ_SYSCALL(chmod(path.cStr(), mode), path);
  if (owner.user != nullptr || owner.group != nullptr) {
    // The highest number leaves a user or group as it is.
    const uid_t user = owner.user.orDefault(uid_t(-1));
    const gid_t group = owner.group.orDefault(gid_t(-1));
    KJ_SYSCALL(lchown(path.cStr(), user, group), "cannot give the socket its owner", path);
  }
  KJ_SYSCALL(lstat(path.cStr(), &file), path);
  KJ_SYSCALL(listen(fd, BACKLOG), path);
}

ListenSocket::~ListenSocket() noexcept(false) {
  struct stat now;
  const bool ours =
      lstat(name.cStr(), &now) == 0 && now.st_dev == file.st_dev && now.st_ino == file.st_ino;
  if (ours) unlink(name.cStr());
}

kj::AutoCloseFd ListenSocket::open() const {
  int copy;
  KJ_SYSCALL(copy = fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return kj::AutoCloseFd(copy);
}

}  // namespace ledger::server
