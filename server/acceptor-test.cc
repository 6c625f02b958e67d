// SPDX-License-Identifier: Apache-2.0
#include "server/acceptor.h"

#include "server/tcp-listener.h"

#include <gtest/gtest.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <kj/vector.h>

#include <cerrno>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ledger::server {
namespace {

struct AcceptorTest : public testing::Test {
  ~AcceptorTest() noexcept override {}

  kj::AutoCloseFd connect() {
    kj::AutoCloseFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(listener.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    KJ_SYSCALL(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
    return fd;
  }

  // Runs the loop until `served` has come to `count`.
  void awaitServed(kj::Promise<void>& accepting, size_t count) {
    while (served.size() < count) {
      ASSERT_FALSE(accepting.poll(io.waitScope));
      io.provider->getTimer().afterDelay(0 * kj::SECONDS).wait(io.waitScope);
    }
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  TcpListener listener{TcpAddress{kj::str("127.0.0.1"), 0}};
  kj::Vector<kj::AutoCloseFd> served;
};

// Somebody connects over and over: a signal, or here a byte in a pipe, is seen all the same.
TEST_F(AcceptorTest, LetsOthersInBetween) {
  constexpr size_t FLOOD = 300;
  kj::Vector<kj::AutoCloseFd> clients;
  for (size_t i = 0; i < FLOOD; ++i) clients.add(connect());
  auto pipe = io.provider->newOneWayPipe();
  auto written = pipe.out->write("x", 1);

  Acceptor acceptor(io, FLOOD, [&](kj::AutoCloseFd fd) { served.add(kj::mv(fd)); });
  auto accepting = acceptor.acceptFrom(listener.open());
  char byte;
  size_t servedBefore = 0;
  pipe.in->read(&byte, 1).then([&]() { servedBefore = served.size(); }).wait(io.waitScope);
  EXPECT_LT(servedBefore, FLOOD / 2);
  awaitServed(accepting, FLOOD);
}

TEST_F(AcceptorTest, ClosesWhatIsTooMuchAndTakesOthersLater) {
  Acceptor acceptor(io, 2, [&](kj::AutoCloseFd fd) { served.add(kj::mv(fd)); });
  auto accepting = acceptor.acceptFrom(listener.open());
  kj::Vector<kj::AutoCloseFd> clients;
  for (int i = 0; i < 100; ++i) clients.add(connect());
  awaitServed(accepting, 2);
  for (int i = 2; i < 100; ++i) {
    while (accepting.poll(io.waitScope)) FAIL();
    char byte;
    ssize_t length = recv(clients[i], &byte, 1, MSG_DONTWAIT);
    while (length < 0 && errno == EAGAIN) {
      io.provider->getTimer().afterDelay(0 * kj::SECONDS).wait(io.waitScope);
      length = recv(clients[i], &byte, 1, MSG_DONTWAIT);
    }
    EXPECT_EQ(length, 0) << "connection " << i << " was not closed";
  }
  EXPECT_EQ(served.size(), 2u);

  served.clear();
  auto next = connect();
  awaitServed(accepting, 1);
}

}  // namespace
}  // namespace ledger::server
