// SPDX-License-Identifier: Apache-2.0
#include "server/signals.h"

#include <kj/debug.h>

#include <cerrno>
#include <csignal>

#include <sys/signalfd.h>
#include <unistd.h>

namespace ledger::server {

TerminationSignals::TerminationSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  KJ_SYSCALL(sigprocmask(SIG_BLOCK, &set, nullptr));
  int number;
  KJ_SYSCALL(number = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  fd = kj::AutoCloseFd(number);
}

kj::Maybe<int> TerminationSignals::received() {
  if (first == nullptr) {
    signalfd_siginfo info;
    ssize_t length;
    KJ_NONBLOCKING_SYSCALL(length = read(fd, &info, sizeof(info)));
    if (length == sizeof(info)) first = int(info.ssi_signo);
  }
  return first;
}

kj::Promise<int> TerminationSignals::whenReceived(kj::UnixEventPort& port) {
  KJ_IF_MAYBE (signal, received()) return *signal;
  auto observer = kj::heap<kj::UnixEventPort::FdObserver>(
      port, fd, kj::UnixEventPort::FdObserver::OBSERVE_READ);
  auto readable = observer->whenBecomesReadable();
  return readable.attach(kj::mv(observer)).then([this, &port]() { return whenReceived(port); });
}

}  // namespace ledger::server
