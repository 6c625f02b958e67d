// SPDX-License-Identifier: Apache-2.0
#include "server/acceptor.h"

#include <kj/async-unix.h>
#include <kj/debug.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ledger::server {
namespace {

// How long accepting rests when the process, or the machine, has no descriptors left.
constexpr kj::Duration REST = 100 * kj::MILLISECONDS;

bool isShortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

// Of a connection that ended before it was accepted.
bool isTransient(int error) {
  return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM;
}

}  // namespace

struct Acceptor::Listener {
  Listener(kj::UnixEventPort& port, kj::AutoCloseFd descriptor)
      : fd(kj::mv(descriptor)),
        observer(port, fd, kj::UnixEventPort::FdObserver::OBSERVE_READ) {}

  kj::AutoCloseFd fd;
  kj::UnixEventPort::FdObserver observer;
};

kj::Promise<void> Acceptor::acceptFrom(kj::AutoCloseFd fd) {
  auto listener = kj::heap<Listener>(io.unixEventPort, kj::mv(fd));
  auto& accepted = *listener;
  return acceptAll(accepted).attach(kj::mv(listener));
}

kj::Promise<void> Acceptor::acceptAll(Listener& listener) {
  for (;;) {
    const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      admit(kj::AutoCloseFd(fd));
      continue;
    }
    const int error = errno;
    if (isTransient(error)) continue;
    if (isShortage(error)) {
      spdlog::warn("no gRPC connection can be accepted: {}", strerror(error));
      return io.provider->getTimer().afterDelay(REST).then(
          [this, &listener]() { return acceptAll(listener); });
    }
    if (error != EAGAIN && error != EWOULDBLOCK) KJ_FAIL_SYSCALL("accept4", error);
    return listener.observer.whenBecomesReadable().then(
        [this, &listener]() { return acceptAll(listener); });
  }
}

void Acceptor::admit(kj::AutoCloseFd connection) {
  if (open.size() >= most) forgetClosed();
  if (open.size() >= most) {
    spdlog::warn("a gRPC connection was refused: {} are open, as many as may be", most);
    return;
  }
  struct stat file;
  KJ_SYSCALL(fstat(connection, &file));
  open.add(Open{connection.get(), file.st_ino});
  const int yes = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));  // Not TCP: no effect.
  serve(kj::mv(connection));
}

void Acceptor::forgetClosed() {
  kj::Vector<Open> stillOpen;
  for (auto& one : open) {
    struct stat file;
    const bool same = fstat(one.fd, &file) == 0 && S_ISSOCK(file.st_mode) &&
                      file.st_ino == one.inode;
    if (same) stillOpen.add(one);
  }
  open = kj::mv(stillOpen);
}

}  // namespace ledger::server
