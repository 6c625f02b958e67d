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

// Accepted in a turn of the loop. Whoever connects over and over must not keep it from a signal.
constexpr int ACCEPTED_IN_A_TURN = 32;

constexpr kj::Duration BETWEEN_COMPLAINTS = 10 * kj::SECONDS;

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
  hasLooked = false;
  for (int tried = 0; tried < ACCEPTED_IN_A_TURN; ++tried) {
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
  // Not evalLater(): the loop would look for nothing else as long as there is an event left.
  return io.provider->getTimer().afterDelay(0 * kj::SECONDS).then(
      [this, &listener]() { return acceptAll(listener); });
}

void Acceptor::admit(kj::AutoCloseFd connection) {
  if (open.size() >= most && !hasLooked) {
    hasLooked = true;
    forgetClosed();
  }
  if (open.size() >= most) return refuse();
  struct stat file;
  KJ_SYSCALL(fstat(connection, &file));
  open.add(Open{connection.get(), file.st_ino});
  const int yes = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));  // Not TCP: no effect.
  serve(kj::mv(connection));
}

// They may be thousands: not a line for each.
void Acceptor::refuse() {
  ++refusals;
  const auto now = io.provider->getTimer().now();
  KJ_IF_MAYBE (before, toldAt) {
    if (now - *before < BETWEEN_COMPLAINTS) return;
  }
  spdlog::warn("{} gRPC connections were refused: {} are open, as many as may be", refusals, most);
  refusals = 0;
  toldAt = now;
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
