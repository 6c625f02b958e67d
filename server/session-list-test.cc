// SPDX-License-Identifier: Apache-2.0
// Who sees the sessions, and what is told of each.

#include "server/session-list.h"
#include "server/service-fixture.h"
#include "tests/testing/await.h"

#include <gtest/gtest.h>

#include <unistd.h>

namespace ledger::server {
namespace {

using Reply = capnp::Response<rpc::SessionsReply>;

Reply sessionsOf(Peer& peer) {
  auto request = peer.session.sessionsRequest();
  return peer.send(request);
}

TEST(Sessions, AreToldOldestFirst) {
  Service service;
  Peer first(service, 0);
  Peer second(service, rpc::FEATURE_SHARED_MEMORY);
  Peer third(service, rpc::FEATURE_HAND_OVER | rpc::FEATURE_SHARED_MEMORY);
  auto reply = sessionsOf(second);
  auto list = reply.getSessions();
  ASSERT_EQ(list.size(), 3u);
  using Transport = rpc::SessionUse::Transport;
  const Transport transports[] = {Transport::INLINE, Transport::SHARED_MEMORY,
                                  Transport::HAND_OVER};
  for (uint32_t index = 0; index < 3; ++index) {
    SCOPED_TRACE(index);
    EXPECT_EQ(list[index].getId(), index + 1);
    EXPECT_EQ(list[index].getUser(), geteuid());
    EXPECT_EQ(list[index].getProcess(), uint32_t(getpid()));
    EXPECT_EQ(list[index].getClient(), "test");
    EXPECT_TRUE(list[index].getMayWrite());
    EXPECT_EQ(list[index].getTransport(), transports[index]);
    EXPECT_EQ(list[index].getIsThis(), index == 1);
    EXPECT_EQ(list[index].getCallsInFlight(), index == 1 ? 1u : 0u);
  }
}

TEST(Sessions, HoldWhatTheyWereLent) {
  FixtureOptions options;
  options.storeReaders = {geteuid()};
  Service service(options);
  Peer holder(service, rpc::FEATURE_SHARED_MEMORY | rpc::FEATURE_TABLES | rpc::FEATURE_HAND_OVER);
  Peer other(service);
  auto look = [&]() { return sessionsOf(other); };

  const auto small = holder.mustSet(holder.initialState(), {"a"}, {std::string(2000, 'v')});
  const auto large = holder.mustSet(small, {"a"}, {std::string(1 << 20, 'v')});
  {
    auto copied = holder.prove(small, packedKeys({"a"}));
    auto stored = holder.getSingleValue(large, keyOf("a"));
    ASSERT_TRUE(copied.getProof().isSpan() && stored.getValue().isTable());
    auto offer = holder.session.offerArenaRequest();
    offer.setSize(1);
    auto offered = holder.send(offer);

    auto reply = look();
    auto use = reply.getSessions()[0];
    EXPECT_GE(use.getArenas().getLentBytes(), 2000u);
    EXPECT_GE(use.getArenas().getCommittedBytes(), use.getArenas().getLentBytes());
    EXPECT_GE(use.getArenas().getRegions(), 2u);
    EXPECT_EQ(use.getRegisteredArenas(), 1u);
    EXPECT_EQ(use.getPinnedStates(), 1u);
    EXPECT_EQ(reply.getSessions()[1].getArenas().getRegions(), 0u);
  }
  holder.initialState();  // What was dropped has arrived.
  ledger::testing::await("the end of what was held", [&]() {
    auto reply = look();
    auto use = reply.getSessions()[0];
    return use.getRegisteredArenas() == 0 && use.getPinnedStates() == 0;
  });
}

TEST(Sessions, AreGoneWithTheirConnection) {
  Service service;
  Peer stays(service);
  { Peer leaves(service); }
  ledger::testing::await("the session's end",
                         [&]() { return sessionsOf(stays).getSessions().size() == 1; });
  Peer comes(service);
  auto reply = sessionsOf(stays);
  EXPECT_EQ(reply.getSessions()[1].getId(), 3u) << "ids are never used again";
}

TEST(Sessions, AreNotForReaders) {
  FixtureOptions options;
  options.readers = {geteuid()};
  Service service(options);
  Peer reader(service);
  auto reply = sessionsOf(reader);
  ASSERT_TRUE(reply.isError());
  EXPECT_EQ(reply.getError().getCode(), rpc::Code::PERMISSION_DENIED);
}

TEST(Sessions, ALongNameIsCut) {
  Service service;
  Peer peer(service);
  auto request = peer.ledgerd.connectRequest();
  auto hello = request.initHello();
  hello.setMinVersion(1);
  hello.setMaxVersion(1);
  hello.setName(kj::str(kj::repeat('n', 100000)));
  auto second = peer.send(request);
  ASSERT_TRUE(second.isWelcome());
  auto reply = sessionsOf(peer);
  EXPECT_EQ(reply.getSessions()[1].getClient().size(), rpc::MAX_NAME_BYTES);
}

// An answer that is longer than the client takes would end its connection.
TEST(Sessions, AReplyThatIsTooLongIsRefused) {
  Service service;
  Peer peer(service, 0, 100);
  auto reply = sessionsOf(peer);
  ASSERT_TRUE(reply.isError());
  EXPECT_EQ(reply.getError().getReason(), rpc::Reason::TOO_LARGE);
}

// Other threads look at it while sessions come, work and go.
TEST(Sessions, MayBeLookedAtFromAnyThread) {
  Service service;
  std::atomic<bool> done{false};
  std::atomic<uint64_t> looks{0}, seen{0};
  kj::Thread looker([&]() {
    while (!done) {
      for (auto& use : service.host.sessionList.snapshot()) {
        seen += use.id > 0 && use.facts.client == "test"_kj;
      }
      ++looks;
    }
  });
  KJ_DEFER(done = true);
  for (int round = 0; round < 50; ++round) {
    Peer peer(service);
    peer.initialState();
  }
  ledger::testing::await("a look", [&]() { return looks > 0; });
}

}  // namespace
}  // namespace ledger::server
