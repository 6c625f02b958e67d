// SPDX-License-Identifier: Apache-2.0
#include "server/tcp-listener.h"

#include <kj/debug.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace ledger::server {
namespace {

constexpr int BACKLOG = 512;

kj::Maybe<uint16_t> parsePort(kj::ArrayPtr<const char> text) {
  if (text.size() == 0 || text.size() > 5) return nullptr;
  uint32_t port = 0;
  for (char digit : text) {
    if (digit < '0' || digit > '9') return nullptr;
    port = port * 10 + (digit - '0');
  }
  if (port > UINT16_MAX) return nullptr;
  return uint16_t(port);
}

// Listens at one of the addresses that a name has. Null, with errno set: it cannot.
kj::AutoCloseFd tryListen(const addrinfo& address) {
  kj::AutoCloseFd fd(socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return nullptr;
  const int yes = 1, no = 0;
  KJ_SYSCALL(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)));
  if (address.ai_family == AF_INET6) {  // All addresses: those of IPv4, too.
    KJ_SYSCALL(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no)));
  }
  if (bind(fd, address.ai_addr, address.ai_addrlen) < 0) return nullptr;
  if (listen(fd, BACKLOG) < 0) return nullptr;
  return fd;
}

kj::String nameOf(int fd) {
  sockaddr_storage address;
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  KJ_SYSCALL(getsockname(fd, generic, &length));
  char host[NI_MAXHOST], port[NI_MAXSERV];
  const int failed = getnameinfo(generic, length, host, sizeof(host), port, sizeof(port),
                                 NI_NUMERICHOST | NI_NUMERICSERV);
  KJ_REQUIRE(failed == 0, "an address without a name", gai_strerror(failed));
  return address.ss_family == AF_INET6 ? kj::str("[", host, "]:", port) : kj::str(host, ":", port);
}

}  // namespace

kj::Maybe<TcpAddress> parseTcpAddress(kj::StringPtr text) {
  KJ_IF_MAYBE (colon, text.findLast(':')) {
    auto host = text.slice(0, *colon);
    const bool bracketed = host.size() >= 2 && host[0] == '[' && host.back() == ']';
    if (bracketed) host = host.slice(1, host.size() - 1);
    for (char c : host) {
      if (c == '[' || c == ']' || (c == ':' && !bracketed)) return nullptr;
    }
    return parsePort(text.slice(*colon + 1)).map([&](uint16_t port) {
      return TcpAddress{kj::heapString(host), port};
    });
  }
  return nullptr;
}

TcpListener::TcpListener(const TcpAddress& address) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const auto port = kj::str(address.port);
  addrinfo* found = nullptr;
  const int failed = getaddrinfo(address.host.size() == 0 ? nullptr : address.host.cStr(),
                                 port.cStr(), &hints, &found);
  KJ_REQUIRE(failed == 0, "cannot serve on this TCP address", address.host, address.port,
             gai_strerror(failed));
  KJ_DEFER(freeaddrinfo(found));

  // As in Go: of a name an IPv4 address if it has one; where all addresses are wanted those of IPv6,
  // which include IPv4.
  int error = 0;
  const bool all = address.host.size() == 0;
  for (const int family : {all ? AF_INET6 : AF_INET, all ? AF_INET : AF_INET6}) {
    for (auto* one = found; one != nullptr && fd.get() < 0; one = one->ai_next) {
      if (one->ai_family != family) continue;
      fd = tryListen(*one);
      if (fd.get() < 0) error = errno;
    }
  }
  KJ_REQUIRE(fd.get() >= 0, "cannot serve on this TCP address", address.host, address.port,
             strerror(error));
  name = nameOf(fd);
  number = KJ_ASSERT_NONNULL(parseTcpAddress(name)).port;
}

kj::AutoCloseFd TcpListener::open() const {
  int copy;
  KJ_SYSCALL(copy = fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return kj::AutoCloseFd(copy);
}

}  // namespace ledger::server
