// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/counting-proxy.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>
#include <errno.h>
#include <fcntl.h>
#include <list>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace ledger::testing {

namespace {

constexpr size_t CHUNK = 64 << 10;  // Bytes per read.
constexpr size_t MOST_FDS = 16;     // Per read; more than any message of ours carries.

sockaddr_un addressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  KJ_REQUIRE(path.size() < sizeof(address.sun_path), "path too long for a socket", path.c_str());
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

kj::AutoCloseFd newSocket() {
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return kj::AutoCloseFd(fd);
}

struct Connection {
  kj::AutoCloseFd client, server;
};

// Moves what there is from one side to the other. False: that side is done.
bool passOn(int from, int to, std::atomic<uint64_t>& passed, std::atomic<uint64_t>& handedOver) {
  static thread_local char buffer[CHUNK];
  alignas(cmsghdr) char control[CMSG_SPACE(MOST_FDS * sizeof(int))];
  iovec part = {buffer, sizeof(buffer)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t received = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
  if (received <= 0) return false;

  kj::Vector<kj::AutoCloseFd> fds;
  for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const auto* numbers = reinterpret_cast<const int*>(CMSG_DATA(part));
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) fds.add(kj::AutoCloseFd(numbers[i]));
  }
  passed += received;
  handedOver += fds.size();

  // The control data goes on as it came: the descriptors have the same numbers here.
  part.iov_len = received;
  if (fds.size() == 0) message.msg_control = nullptr;
  if (fds.size() == 0) message.msg_controllen = 0;
  ssize_t sent = sendmsg(to, &message, MSG_NOSIGNAL);
  if (sent < 0) return false;
  while (sent < received) {
    const ssize_t more = send(to, buffer + sent, received - sent, MSG_NOSIGNAL);
    if (more <= 0) return false;
    sent += more;
  }
  return true;
}

}  // namespace

CountingProxy::CountingProxy(const std::string& front, const std::string& back) : back(back) {
  auto listener = newSocket();
  const auto address = addressOf(front);
  KJ_SYSCALL(bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
  KJ_SYSCALL(listen(listener, 8));
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd stopReader(ends[0]);
  stopWriter = kj::AutoCloseFd(ends[1]);
  thread = kj::heap<kj::Thread>([this, listener = kj::mv(listener),
                                 stopReader = kj::mv(stopReader)]() { run(listener, stopReader); });
}

CountingProxy::~CountingProxy() noexcept(false) {
  stopWriter = nullptr;
}

void CountingProxy::reset() {
  passed = 0;
  handedOver = 0;
}

void CountingProxy::run(int listener, int stop) {
  std::list<Connection> connections;
  for (;;) {
    kj::Vector<pollfd> watched;
    watched.add(pollfd{stop, POLLIN, 0});
    watched.add(pollfd{listener, POLLIN, 0});
    for (auto& connection : connections) {
      watched.add(pollfd{connection.client, POLLIN, 0});
      watched.add(pollfd{connection.server, POLLIN, 0});
    }
    KJ_SYSCALL(poll(watched.begin(), watched.size(), -1));
    if (watched[0].revents != 0) return;

    size_t index = 2;
    for (auto it = connections.begin(); it != connections.end(); index += 2) {
      bool alive = true;
      if (watched[index].revents != 0) {
        alive = passOn(it->client, it->server, passed, handedOver);
      }
      if (alive && watched[index + 1].revents != 0) {
        alive = passOn(it->server, it->client, passed, handedOver);
      }
      it = alive ? std::next(it) : connections.erase(it);
    }

    if (watched[1].revents != 0) {
      int fd;
      KJ_SYSCALL(fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
      Connection connection{kj::AutoCloseFd(fd), newSocket()};
      const auto address = addressOf(back);
      // A server that is gone ends the client's connection too.
      if (connect(connection.server, reinterpret_cast<const sockaddr*>(&address),
                  sizeof(address)) == 0) {
        connections.push_back(kj::mv(connection));
      }
    }
  }
}

}  // namespace ledger::testing
