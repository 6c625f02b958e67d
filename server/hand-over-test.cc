// SPDX-License-Identifier: Apache-2.0
// Arenas over the hand-over socket, in both directions, by a client without descriptors in its RPC;
// and clients that are slow, wrong or many.

#include "schema/hand-over.h"
#include "server/hand-over-service.h"
#include "server/service-fixture.h"
#include "tests/testing/await.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

namespace ledger::server {
namespace {

using Kind = rpc::HandOverRequest::Kind;

struct Received {
  rpc::HandOverReply reply;
  kj::Maybe<kj::AutoCloseFd> fd;
};

kj::AutoCloseFd memfdOf(Bytes content) {
  int fd;
  KJ_SYSCALL(fd = memfd_create("client", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  kj::AutoCloseFd owned(fd);
  KJ_SYSCALL(pwrite(owned, content.begin(), content.size(), 0));
  KJ_SYSCALL(fcntl(owned, F_ADD_SEALS, F_SEAL_SHRINK));
  return owned;
}

// A client's end of the hand-over socket.
class HandOver {
public:
  explicit HandOver(Service& service, HandOverService& served)
      : service(service), pipe(service.io.provider->newCapabilityPipe()) {
    served.serve(kj::mv(pipe.ends[0]));
  }

  void write(Bytes bytes) {
    pipe.ends[1]->write(bytes.begin(), bytes.size()).wait(service.io.waitScope);
  }
  void write(Bytes bytes, kj::ArrayPtr<const int> fds) {
    pipe.ends[1]->writeWithFds(bytes, nullptr, fds).wait(service.io.waitScope);
  }

  // What the server says until it closes.
  Received read() {
    kj::byte bytes[2048];
    kj::AutoCloseFd fds[2];
    auto got = pipe.ends[1]
                   ->tryReadWithFds(bytes, sizeof(bytes), sizeof(bytes), fds, 2)
                   .wait(service.io.waitScope);
    KJ_REQUIRE(got.capCount <= 1);
    auto parsed = rpc::parseHandOverReply(kj::arrayPtr(bytes, got.byteCount));
    Received result{kj::mv(KJ_REQUIRE_NONNULL(parsed, "no reply", got.byteCount)), nullptr};
    if (got.capCount == 1) result.fd = kj::mv(fds[0]);
    return result;
  }

  // Whether the server has closed it without a word.
  bool isEnded() {
    kj::byte byte;
    auto reading = pipe.ends[1]->tryRead(&byte, 1, 1);
    return reading.poll(service.io.waitScope) && reading.wait(service.io.waitScope) == 0;
  }

private:
  Service& service;
  kj::CapabilityPipe pipe;
};

class HandOvers : public ::testing::Test {
public:
  ~HandOvers() noexcept override {}

protected:
  Received exchange(Kind kind, Bytes token, kj::ArrayPtr<const int> fds = nullptr) {
    HandOver client(service, served);
    rpc::HandOverRequest request{kind, {}};
    KJ_REQUIRE(token.size() == request.token.size(), token.size());
    memcpy(request.token.data(), token.begin(), token.size());
    auto bytes = rpc::writeHandOverRequest(request);
    if (fds.size() > 0) {
      client.write(bytes, fds);
    } else {
      client.write(bytes);
    }
    return client.read();
  }

  auto offer(uint64_t size) {
    auto request = peer.session.offerArenaRequest();
    request.setSize(size);
    return peer.send(request);
  }

  auto openArena(uint32_t id) {
    auto request = peer.session.openArenaRequest();
    request.setId(id);
    return peer.send(request);
  }

  // Of a value of 100,000 bytes.
  auto readThroughArena() {
    state = peer.mustSet(peer.initialState(), {"a"}, {std::string(100000, 'v')});
    return peer.getSingleValue(state, keyOf("a"));
  }

  Service service;
  Peer peer{service, rpc::FEATURE_HAND_OVER};
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  HandOverService served{service.host.handOverTokens, timer};
  std::string state;
};

// --- Arenas ---

TEST_F(HandOvers, AClientTakesAnArenaOfTheServers) {
  EXPECT_EQ(peer.handOverSocket, "/run/test.handover");
  auto reply = readThroughArena();
  ASSERT_TRUE(reply.getValue().isSpan());
  auto span = reply.getValue().getSpan();
  auto reply2 = openArena(span.getArena());
  auto opened = reply2.getOpened();

  auto received = exchange(Kind::TAKE, opened.getHandOverToken());
  EXPECT_EQ(received.reply.code, rpc::Code::OK);
  const int fd = KJ_ASSERT_NONNULL(received.fd);
  EXPECT_EQ(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
  auto bytes = kj::heapArray<kj::byte>(span.getLength());
  ASSERT_EQ(pread(fd, bytes.begin(), bytes.size(), span.getOffset()), ssize_t(bytes.size()));
  EXPECT_TRUE(stringOf(bytes) == std::string(100000, 'v'));

  auto again = exchange(Kind::TAKE, opened.getHandOverToken());
  EXPECT_EQ(again.reply.code, rpc::Code::NOT_FOUND);
  EXPECT_TRUE(again.fd == nullptr);
}

TEST_F(HandOvers, AClientGivesAnArenaOfItsOwn) {
  auto keys = packedKeys({"a", "b"}), values = packed({"one", "two"});
  auto content = kj::heapArray<kj::byte>(keys.size() + values.size());
  memcpy(content.begin(), keys.begin(), keys.size());
  memcpy(content.begin() + keys.size(), values.begin(), values.size());
  auto reply = offer(content.size());
  ASSERT_TRUE(reply.isOffered());
  auto offered = reply.getOffered();
  const uint32_t id = offered.getId();

  struct NoRegion final : public rpc::Region::Server {};
  auto set = [&]() {
    auto request = peer.session.setRequest();
    request.setState(service.ledger->initialState().ptr());
    rpc::setSpan(request.initKeys(), kj::heap<NoRegion>(), {id, 0, keys.size()});
    rpc::setSpan(request.initValues(), kj::heap<NoRegion>(), {id, keys.size(), values.size()});
    return peer.send(request);
  };
  auto early = set();
  EXPECT_EQ(early.getError().getReason(), rpc::Reason::BAD_ARENA);
  EXPECT_NE(std::string(early.getError().getMessage().cStr()).find("not been handed over"),
            std::string::npos);

  auto fd = memfdOf(content);
  const int fds[] = {fd};
  EXPECT_EQ(exchange(Kind::GIVE, offered.getToken(), fds).reply.code, rpc::Code::OK);
  auto done = set();
  ASSERT_TRUE(done.isState());
  EXPECT_EQ(peer.bytesOf(peer.getSingleValue(stringOf(done.getState()), keyOf("b")).getValue()),
            "two");
  EXPECT_EQ(exchange(Kind::GIVE, offered.getToken(), fds).reply.code, rpc::Code::NOT_FOUND);
}

TEST_F(HandOvers, WhatIsNoMemfdIsRefusedByName) {
  auto reply = offer(1);
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd readEnd(ends[0]), writeEnd(ends[1]);
  const int fds[] = {readEnd};
  auto received = exchange(Kind::GIVE, reply.getOffered().getToken(), fds);
  EXPECT_EQ(received.reply.reason, rpc::Reason::BAD_ARENA);
  const char* message = received.reply.message.cStr();
  EXPECT_NE(strstr(message, "a pipe"), nullptr) << message;
}

TEST_F(HandOvers, DescriptorsComeOneByOneAndOnlyWhereTheyBelong) {
  auto given = offer(1);
  auto fd = memfdOf("x"_kj.asBytes());
  const int two[] = {fd, fd}, three[] = {fd, fd, fd}, one[] = {fd};
  for (kj::ArrayPtr<const int> fds : {kj::ArrayPtr<const int>(nullptr), kj::arrayPtr(two, 2),
                                      kj::arrayPtr(three, 3)}) {
    auto received = exchange(Kind::GIVE, given.getOffered().getToken(), fds);
    EXPECT_EQ(received.reply.reason, rpc::Reason::BAD_REQUEST) << fds.size();
  }
  auto reply = readThroughArena();
  auto opened = openArena(reply.getValue().getSpan().getArena());
  auto received = exchange(Kind::TAKE, opened.getOpened().getHandOverToken(), one);
  EXPECT_EQ(received.reply.reason, rpc::Reason::BAD_REQUEST);
  EXPECT_EQ(exchange(Kind::GIVE, given.getOffered().getToken(), one).reply.code, rpc::Code::OK);
}

// --- The end of a token ---

TEST_F(HandOvers, ATokenEndsWithItsArena) {
  auto reply = readThroughArena();
  std::string token;
  {
    auto opened = openArena(reply.getValue().getSpan().getArena());
    token = stringOf(opened.getOpened().getHandOverToken());
  }
  peer.initialState();  // The drop has arrived.
  EXPECT_EQ(exchange(Kind::TAKE, Peer::dataOf(token)).reply.code, rpc::Code::NOT_FOUND);
}

TEST_F(HandOvers, AnOfferEndsWithItsRegistration) {
  std::string token;
  {
    auto reply = offer(1);
    token = stringOf(reply.getOffered().getToken());
  }
  peer.initialState();
  auto fd = memfdOf("x"_kj.asBytes());
  const int fds[] = {fd};
  EXPECT_EQ(exchange(Kind::GIVE, Peer::dataOf(token), fds).reply.code, rpc::Code::NOT_FOUND);
}

TEST_F(HandOvers, ATokenEndsWithItsSession) {
  std::string token;
  {
    Peer other(service, rpc::FEATURE_HAND_OVER);
    auto request = other.session.offerArenaRequest();
    request.setSize(1);
    auto reply = other.send(request);
    token = stringOf(reply.getOffered().getToken());
  }
  ledger::testing::await("the session's end", [&]() {
    service.io.waitScope.poll();
    return service.host.sessions == 1;
  });
  auto fd = memfdOf("x"_kj.asBytes());
  const int fds[] = {fd};
  EXPECT_EQ(exchange(Kind::GIVE, Peer::dataOf(token), fds).reply.code, rpc::Code::NOT_FOUND);
}

TEST_F(HandOvers, OffersAreBounded) {
  kj::Vector<capnp::Response<rpc::OfferArenaReply>> held;
  for (uint32_t count = 0; count < service.host.limits.registeredArenas; ++count) {
    held.add(offer(1));
    ASSERT_TRUE(held.back().isOffered());
  }
  EXPECT_EQ(offer(1).getError().getReason(), rpc::Reason::QUOTA);
}

// --- Sessions without it ---

TEST_F(HandOvers, WhoDidNotChooseItGetsNoTokens) {
  Peer other(service, rpc::FEATURE_SHARED_MEMORY);
  EXPECT_EQ(other.handOverSocket, "");
  auto request = other.session.offerArenaRequest();
  request.setSize(1);
  auto refused = other.send(request);
  EXPECT_EQ(refused.getError().getCode(), rpc::Code::FAILED_PRECONDITION);

  auto reply = readThroughArena();
  auto read = other.getSingleValue(state, keyOf("a"));
  auto open = other.session.openArenaRequest();
  open.setId(read.getValue().getSpan().getArena());
  EXPECT_EQ(other.send(open).getOpened().getHandOverToken().size(), 0u);
}

// --- Those who connect ---

TEST_F(HandOvers, WhatIsNoRequestIsToldSo) {
  HandOver client(service, served);
  client.write("GET / HTTP/1.1\r\nHost: ledgerd.example.org\r\n"_kj.asBytes().slice(
      0, rpc::HAND_OVER_REQUEST_BYTES));
  auto received = client.read();
  EXPECT_EQ(received.reply.code, rpc::Code::INVALID_ARGUMENT);
  EXPECT_NE(strstr(received.reply.message.cStr(), "hand-over socket"), nullptr);
}

TEST_F(HandOvers, ARequestInPiecesIsOneAllTheSame) {
  auto reply = readThroughArena();
  auto opened = openArena(reply.getValue().getSpan().getArena());
  rpc::HandOverRequest request{Kind::TAKE, {}};
  auto token = opened.getOpened().getHandOverToken();
  memcpy(request.token.data(), token.begin(), token.size());
  HandOver client(service, served);
  for (auto byte : rpc::writeHandOverRequest(request)) {
    EXPECT_FALSE(client.isEnded());
    client.write(kj::arrayPtr(&byte, 1));
  }
  EXPECT_EQ(client.read().reply.code, rpc::Code::OK);
}

TEST_F(HandOvers, WhoSaysNothingIsCutOff) {
  HandOver silent(service, served), slow(service, served);
  slow.write("LDHO"_kj.asBytes());
  service.io.waitScope.poll();
  timer.advanceTo(timer.now() + HandOverService::DEADLINE - 1 * kj::NANOSECONDS);
  EXPECT_FALSE(silent.isEnded() || slow.isEnded());
  timer.advanceTo(timer.now() + 1 * kj::NANOSECONDS);
  service.io.waitScope.poll();
  EXPECT_EQ(served.count(), 0u);
  EXPECT_TRUE(silent.isEnded() && slow.isEnded());
}

// Who connects and waits must not keep others out.
TEST_F(HandOvers, ACrowdOfHalfOpenPeersGivesWay) {
  kj::Vector<kj::Own<HandOver>> crowd;
  for (size_t count = 0; count < 4 * HandOverService::MOST_CONNECTIONS; ++count) {
    crowd.add(kj::heap<HandOver>(service, served));
    ASSERT_LE(served.count(), HandOverService::MOST_CONNECTIONS);
  }
  EXPECT_TRUE(crowd[0]->isEnded());
  EXPECT_FALSE(crowd.back()->isEnded());
  auto reply = readThroughArena();
  auto opened = openArena(reply.getValue().getSpan().getArena());
  EXPECT_EQ(exchange(Kind::TAKE, opened.getOpened().getHandOverToken()).reply.code,
            rpc::Code::OK);
}

}  // namespace
}  // namespace ledger::server
