// SPDX-License-Identifier: Apache-2.0
// Payloads through shared memory, in both directions, and what happens when there is none.

#include "server/service-fixture.h"
#include "tests/testing/await.h"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace ledger::server {
namespace {

using Strings = std::vector<std::string>;

template <typename Reply>
rpc::Reason reasonOf(Reply&& reply) {
  KJ_REQUIRE(reply.isError(), "was not refused");
  return reply.getError().getReason();
}

// --- Replies ---

// Lends a value of `length` bytes and says what the reply's form was.
struct Reading {
  explicit Reading(const FixtureOptions& options = {},
                   uint64_t features = rpc::FEATURE_SHARED_MEMORY,
                   uint64_t messageWords = rpc::messageWordsFor(8 << 20))
      : service(options), peer(service, features, messageWords) {}

  std::string store(const std::string& value) {
    // Behind the service's back: its limits are for what the tests look at.
    auto key = keyOf("big");
    EncodedKey encoded = key;
    Value bytes = Peer::dataOf(value);
    auto result = service.ledger->set(service.ledger->initialState(), kj::arrayPtr(&encoded, 1),
                                      kj::arrayPtr(&bytes, 1), nullptr, Stop::never());
    return stringOf(result.get<RootHash>().ptr());
  }
  auto read(const std::string& state) { return peer.getSingleValue(state, keyOf("big")); }
  uint64_t lentBytes() {
    kj::Maybe<capnp::Response<rpc::InfoReply>> holder;
    return peer.info(holder).getArenas().getLentBytes();
  }

  Service service;
  Peer peer;
};

TEST(SharedMemoryReplies, TheThresholdDecides) {
  FixtureOptions options;
  options.limits.inlineThreshold = 1000;
  Reading reading(options);
  for (size_t length : {999, 1000, 1001, 300000, 3000000}) {
    const std::string value(length, 'v');
    auto reply = reading.read(reading.store(value));
    ASSERT_TRUE(reply.isValue()) << length;
    EXPECT_EQ(reply.getValue().isSpan(), length > 1000) << length;
    EXPECT_EQ(reading.peer.bytesOf(reply.getValue()), value);
  }
}

TEST(SharedMemoryReplies, AClientWithoutItGetsEverythingInline) {
  Reading reading({}, 0);
  const std::string value(3000000, 'v');
  auto reply = reading.read(reading.store(value));
  EXPECT_TRUE(reply.getValue().isInline());
  EXPECT_EQ(reading.peer.bytesOf(reply.getValue()), value);
}

// A span that stays lent for ever would fill the arena after a day.
TEST(SharedMemoryReplies, DroppingTheRegionGivesTheBytesBack) {
  Reading reading;
  const auto state = reading.store(std::string(100000, 'v'));
  for (int round = 0; round < 500; ++round) {
    auto reply = reading.read(state);
    ASSERT_TRUE(reply.getValue().isSpan()) << round;
  }
  EXPECT_EQ(reading.lentBytes(), 0u);
}

// While it is held, nothing else may be written there.
TEST(SharedMemoryReplies, AHeldRegionKeepsItsBytes) {
  Reading reading;
  const std::string first(100000, '1');
  auto held = reading.read(reading.store(first));
  for (char fill = 'a'; fill <= 'z'; ++fill) {
    auto reply = reading.read(reading.store(std::string(100000, fill)));
    EXPECT_EQ(reading.peer.bytesOf(reply.getValue()), std::string(100000, fill));
  }
  EXPECT_EQ(reading.peer.bytesOf(held.getValue()), first);
}

TEST(SharedMemoryReplies, AFullArenaFallsBackToInline) {
  FixtureOptions options;
  options.limits.arenaBytes = 1 << 20;
  Reading reading(options);
  const auto state = reading.store(std::string(700000, 'v'));
  auto first = reading.read(state);
  auto second = reading.read(state);
  EXPECT_TRUE(first.getValue().isSpan());
  EXPECT_TRUE(second.getValue().isInline());
  EXPECT_EQ(reading.peer.bytesOf(second.getValue()), std::string(700000, 'v'));
}

// Neither way is open: an answer with figures, and no exception that ends the connection.
TEST(SharedMemoryReplies, WithoutRoomAnywhereTheAnswerSaysSo) {
  FixtureOptions options;
  options.limits.arenaBytes = 1 << 20;
  Reading reading(options, rpc::FEATURE_SHARED_MEMORY, 50000);
  const auto state = reading.store(std::string(700000, 'v'));
  auto held = reading.read(state);
  EXPECT_TRUE(held.getValue().isSpan());
  auto refused = reading.read(state);
  EXPECT_EQ(reasonOf(refused), rpc::Reason::OUT_OF_SHARED_MEMORY);
  EXPECT_EQ(refused.getError().getCode(), rpc::Code::RESOURCE_EXHAUSTED);
  const std::string message = refused.getError().getMessage().cStr();
  EXPECT_NE(message.find("needs 700416 bytes"), std::string::npos) << message;
  EXPECT_NE(message.find("of 1048576 free"), std::string::npos) << message;
  EXPECT_NE(message.find("--arena-size"), std::string::npos) << message;
  EXPECT_EQ(reading.peer.initialState().size(), 32u) << "the connection lives";
}

TEST(SharedMemoryReplies, AClientWithShortMessagesIsToldSo) {
  Reading reading({}, 0, 50000);
  EXPECT_EQ(reasonOf(reading.read(reading.store(std::string(700000, 'v')))),
            rpc::Reason::TOO_LARGE);
  EXPECT_EQ(reading.peer.initialState().size(), 32u) << "the connection lives";
}

TEST(SharedMemoryReplies, TheLimitOverAllSessionsHolds) {
  FixtureOptions options;
  options.sharedMemoryBytes = 1 << 20;
  Reading reading(options);
  Peer other(reading.service);
  const auto state = reading.store(std::string(900000, 'v'));
  auto first = reading.read(state);
  EXPECT_TRUE(first.getValue().isSpan());
  auto second = other.getSingleValue(state, keyOf("big"));
  EXPECT_TRUE(second.getValue().isInline());
  EXPECT_LE(reading.service.sharedMemory->used(), 1u << 20);
}

// Another session's warm memory is no help to one that has used up its own quota.
TEST(SharedMemoryReplies, AFullSessionLeavesOthersTheirMemory) {
  FixtureOptions options;
  options.limits.arenaBytes = 1 << 20;
  Reading full(options);
  Peer other(full.service);
  const auto state = full.store(std::string(400000, 'v'));
  other.getSingleValue(state, keyOf("big"));
  auto committed = [&]() {
    kj::Maybe<capnp::Response<rpc::InfoReply>> holder;
    return other.info(holder).getArenas().getCommittedBytes();
  };
  const uint64_t before = committed();
  EXPECT_GE(before, 400000u);
  auto first = full.read(state);
  auto second = full.read(state);
  auto third = full.read(state);
  EXPECT_TRUE(third.getValue().isInline());
  EXPECT_EQ(committed(), before);
}

// No descriptor can be had for an arena: what was executed, a Set perhaps, is answered all the
// same.
TEST(SharedMemoryReplies, WhatTheKernelRefusesIsNotTheEndOfACall) {
  for (uint64_t messageWords : {rpc::messageWordsFor(8 << 20), uint64_t(50000)}) {
    Reading reading({}, rpc::FEATURE_SHARED_MEMORY, messageWords);
    const auto state = reading.store(std::string(700000, 'v'));
    struct rlimit limit;
    KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
    struct rlimit none = {0, limit.rlim_max};
    KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &none));
    KJ_DEFER(KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &limit)));

    auto reply = reading.read(state);
    if (messageWords == 50000) {
      EXPECT_EQ(reasonOf(reply), rpc::Reason::OUT_OF_SHARED_MEMORY);
    } else {
      ASSERT_TRUE(reply.isValue());
      EXPECT_TRUE(reply.getValue().isInline());
    }
  }
}

// A client that is killed returns nothing; its connection's end must.
TEST(SharedMemoryReplies, ALostClientGivesEverythingBack) {
  Service service;
  {
    auto peer = kj::heap<Peer>(service);
    auto state = peer->mustSet(peer->initialState(), {"a"}, {std::string(50000, 'v')});
    kj::Vector<capnp::Response<rpc::ValueReply>> held;
    for (int count = 0; count < 50; ++count) {
      held.add(peer->getSingleValue(state, keyOf("a")));
    }
    EXPECT_GE(service.sharedMemory->used(), 50u * 50000);
    // As the kernel does for a client that was killed: no farewell.
    KJ_ASSERT(shutdown(KJ_ASSERT_NONNULL(peer->pipe.ends[1]->getFd()), SHUT_RDWR) == 0);
  }
  ledger::testing::await("the connection's end", [&]() {
    service.io.waitScope.poll();
    return service.connections->count() == 0;
  });
  EXPECT_EQ(service.sharedMemory->used(), 0u);
  EXPECT_EQ(service.host.sessions, 0u);
}

TEST(SharedMemoryReplies, OnlyItsOwnArenasCanBeOpened) {
  Service service;
  Peer owner(service), other(service);
  auto state = owner.mustSet(owner.initialState(), {"a"}, {std::string(50000, 'v')});
  auto reply = owner.getSingleValue(state, keyOf("a"));
  ASSERT_TRUE(reply.getValue().isSpan());
  for (uint32_t id : {reply.getValue().getSpan().getArena(), 0u, 7u, UINT32_MAX}) {
    auto request = other.session.openArenaRequest();
    request.setId(id);
    EXPECT_EQ(reasonOf(other.send(request)), rpc::Reason::BAD_ARENA) << id;
  }
}

TEST(SharedMemoryReplies, OpenDescriptorsAreBounded) {
  FixtureOptions options;
  options.limits.openArenas = 2;
  Service service(options);
  Peer peer(service);
  auto state = peer.mustSet(peer.initialState(), {"a"}, {std::string(50000, 'v')});
  auto reply = peer.getSingleValue(state, keyOf("a"));
  auto open = [&]() {
    auto request = peer.session.openArenaRequest();
    request.setId(reply.getValue().getSpan().getArena());
    return peer.send(request);
  };
  auto first = open();
  {
    auto second = open();
    EXPECT_EQ(reasonOf(open()), rpc::Reason::QUOTA);
  }
  EXPECT_TRUE(open().isOpened());
}

// --- Requests ---

// A client's memfd, sealed as it should be unless told otherwise.
class ClientArena final : public rpc::Arena::Server {
public:
  explicit ClientArena(kj::ArrayPtr<const kj::byte> content, int seals = F_SEAL_SHRINK) {
    int number;
    KJ_SYSCALL(number = memfd_create("client", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    fd = kj::AutoCloseFd(number);
    KJ_SYSCALL(pwrite(fd, content.begin(), content.size(), 0));
    KJ_SYSCALL(fcntl(fd, F_ADD_SEALS, seals));
  }
  kj::Maybe<int> getFd() override { return int(fd); }

private:
  kj::AutoCloseFd fd;
};

class NoDescriptor final : public rpc::Arena::Server {};

class ClientRegion final : public rpc::Region::Server {
public:
  explicit ClientRegion(uint32_t& live) : live(live) { ++live; }
  ~ClientRegion() noexcept(false) { --live; }

private:
  uint32_t& live;
};

struct Writing {
  Writing() : peer(service) {}

  auto registerArena(rpc::Arena::Client arena, uint64_t size) {
    auto request = peer.session.registerArenaRequest();
    request.setArena(kj::mv(arena));
    request.setSize(size);
    return peer.send(request);
  }
  void span(rpc::Bulk::Builder bulk, uint32_t arena, uint64_t offset, uint64_t length) {
    rpc::setSpan(bulk, kj::heap<ClientRegion>(regions), {arena, offset, length});
  }

  uint32_t regions = 0;  // Of the client's, that somebody holds.
  Service service;
  Peer peer;
};

kj::Array<kj::byte> concat(std::initializer_list<kj::ArrayPtr<const kj::byte>> parts) {
  kj::Vector<kj::byte> all;
  for (auto part : parts) all.addAll(part);
  return all.releaseAsArray();
}

TEST(SharedMemoryRequests, ASetIsReadFromTheClientsArena) {
  Writing writing;
  auto keys = packedKeys({"a", "b"});
  auto values = packed({"one", std::string(100000, '2')});
  auto content = concat({keys, values});
  auto reply = writing.registerArena(kj::heap<ClientArena>(content), content.size());
  ASSERT_TRUE(reply.isRegistered());
  const uint32_t arena = reply.getRegistered().getId();

  auto request = writing.peer.session.setRequest();
  request.setState(writing.service.ledger->initialState().ptr());
  writing.span(request.initKeys(), arena, 0, keys.size());
  writing.span(request.initValues(), arena, keys.size(), values.size());
  auto result = writing.peer.send(request);
  ASSERT_TRUE(result.isState());
  const auto state = stringOf(result.getState());

  auto read = writing.peer.getSingleValue(state, keyOf("b"));
  EXPECT_EQ(writing.peer.bytesOf(read.getValue()), std::string(100000, '2'));
  // The server must let go of the client's memory, or that can never be used again. It may do so
  // just after its answer.
  ledger::testing::await("the region's return", [&]() {
    writing.service.io.waitScope.poll();
    return writing.regions == 0;
  });
}

TEST(SharedMemoryRequests, ATableOfSpansIsOnePayload) {
  Writing writing;
  auto keys = packedKeys({"a"});
  auto values = packed({"0123456789"});
  // The values in three pieces, out of order, before the table that lists them.
  auto content = concat({keys, values});
  kj::byte table[3 * 24] = {};
  auto reply = writing.registerArena(kj::heap<ClientArena>(content), content.size());
  const uint32_t arena = reply.getRegistered().getId();
  const uint64_t cuts[] = {0, 5, 12, values.size()};
  for (int piece = 0; piece < 3; ++piece) {
    kj::byte* entry = table + piece * 24;
    const uint64_t offset = keys.size() + cuts[piece], length = cuts[piece + 1] - cuts[piece];
    memcpy(entry, &arena, 4);
    memcpy(entry + 8, &offset, 8);
    memcpy(entry + 16, &length, 8);
  }
  auto tables = writing.registerArena(kj::heap<ClientArena>(kj::arrayPtr(table, sizeof(table))),
                                      sizeof(table));

  auto request = writing.peer.session.setRequest();
  request.setState(writing.service.ledger->initialState().ptr());
  writing.span(request.initKeys(), arena, 0, keys.size());
  auto bulk = request.initValues().initTable();
  bulk.setRegion(kj::heap<ClientRegion>(writing.regions));
  bulk.setArena(tables.getRegistered().getId());
  bulk.setCount(3);
  bulk.setLength(values.size());
  auto result = writing.peer.send(request);
  ASSERT_TRUE(result.isState());
  auto read = writing.peer.getSingleValue(stringOf(result.getState()), keyOf("a"));
  EXPECT_EQ(writing.peer.bytesOf(read.getValue()), "0123456789");
}

// Every way to name bytes that are not there is an error of that call, and of nothing else.
TEST(SharedMemoryRequests, SpansOutsideAnArenaAreRefused) {
  Writing writing;
  auto keys = packedKeys({"a"});
  auto reply = writing.registerArena(kj::heap<ClientArena>(keys), keys.size());
  const uint32_t arena = reply.getRegistered().getId();
  auto get = [&](uint32_t id, uint64_t offset, uint64_t length) {
    auto request = writing.peer.session.getRequest();
    request.setState(writing.service.ledger->initialState().ptr());
    writing.span(request.initKeys(), id, offset, length);
    return writing.peer.send(request);
  };
  EXPECT_TRUE(get(arena, 0, keys.size()).isValues());
  EXPECT_EQ(reasonOf(get(arena, 1, keys.size())), rpc::Reason::BAD_ARENA);
  EXPECT_EQ(reasonOf(get(arena, keys.size() + 1, 0)), rpc::Reason::BAD_ARENA);
  EXPECT_EQ(reasonOf(get(arena, UINT64_MAX, 1)), rpc::Reason::BAD_REQUEST);
  EXPECT_EQ(reasonOf(get(arena, uint64_t(1) << 63, 8)), rpc::Reason::BAD_ARENA);
  EXPECT_EQ(reasonOf(get(arena, 0, uint64_t(1) << 40)), rpc::Reason::TOO_LARGE);
  EXPECT_EQ(reasonOf(get(arena + 1, 0, keys.size())), rpc::Reason::BAD_ARENA);
  EXPECT_TRUE(get(arena, 0, keys.size()).isValues());
}

TEST(SharedMemoryRequests, UnfitArenasAreRefused) {
  Writing writing;
  const auto content = kj::heapArray<kj::byte>(4096);
  EXPECT_EQ(reasonOf(writing.registerArena(kj::heap<ClientArena>(content, 0), 4096)),
            rpc::Reason::BAD_ARENA)
      << "not sealed: it could be shrunk";
  EXPECT_EQ(reasonOf(writing.registerArena(kj::heap<ClientArena>(content), 4097)),
            rpc::Reason::BAD_ARENA)
      << "smaller than said";
  EXPECT_EQ(reasonOf(writing.registerArena(kj::heap<NoDescriptor>(), 0)), rpc::Reason::BAD_ARENA);
}

TEST(SharedMemoryRequests, ARegistrationEndsWhenItIsDropped) {
  FixtureOptions options;
  Writing writing;
  auto keys = packedKeys({"a"});
  uint32_t first;
  {
    auto reply = writing.registerArena(kj::heap<ClientArena>(keys), keys.size());
    first = reply.getRegistered().getId();
  }
  auto second = writing.registerArena(kj::heap<ClientArena>(keys), keys.size());
  EXPECT_NE(second.getRegistered().getId(), first) << "ids are never used twice";
  auto request = writing.peer.session.getRequest();
  request.setState(writing.service.ledger->initialState().ptr());
  writing.span(request.initKeys(), first, 0, keys.size());
  EXPECT_EQ(reasonOf(writing.peer.send(request)), rpc::Reason::BAD_ARENA);
}

TEST(SharedMemoryRequests, RegistrationsAreBounded) {
  Writing writing;
  auto keys = packedKeys({"a"});
  kj::Vector<capnp::Response<rpc::RegisterArenaReply>> held;
  for (uint32_t count = 0; count < writing.service.host.limits.registeredArenas; ++count) {
    held.add(writing.registerArena(kj::heap<ClientArena>(keys), keys.size()));
    ASSERT_TRUE(held.back().isRegistered());
  }
  EXPECT_EQ(reasonOf(writing.registerArena(kj::heap<ClientArena>(keys), keys.size())),
            rpc::Reason::QUOTA);
}

// --- The longest messages ---

// The message limit is derived from the payload limits: what they allow must go through, in both
// directions, without ending the connection.
TEST(LongMessages, APayloadAtTheLimitPassesInline) {
  Service service;
  Peer peer(service, 0);
  auto keys = packedKeys({"a"});
  const uint64_t overhead = packed({""}).size();
  const uint64_t longest = service.host.limits.requestBytes - keys.size() - overhead;
  auto reply = peer.set(peer.initialState(), keys, packed({std::string(longest, 'v')}));
  ASSERT_TRUE(reply.isState());
  const auto state = stringOf(reply.getState());
  EXPECT_EQ(reasonOf(peer.set(state, keys, packed({std::string(longest + 1, 'v')}))),
            rpc::Reason::TOO_LARGE);

  auto read = peer.getSingleValue(state, keyOf("a"));
  ASSERT_TRUE(read.isValue());
  EXPECT_TRUE(peer.bytesOf(read.getValue()) == std::string(longest, 'v'));
}

// --- Memory ---

// Each request is counted while it is here, and no longer.
TEST(RequestMemory, IsGivenBack) {
  Service service;
  Peer peer(service, 0);
  const auto initial = peer.initialState();
  auto value = packed({std::string(1 << 20, 'v')});
  // With an id, so that the repetitions add no state to the next checkpoint.
  const auto id = "0123456789abcdef"_kj.asBytes();
  auto first = peer.set(initial, packedKeys({"a"}), value, id);
  ASSERT_TRUE(first.isState());
  const uint64_t before = service.memory->used();
  for (int round = 0; round < 20; ++round) {
    peer.set(initial, packedKeys({"a"}), value, id);
    peer.getSingleValue(stringOf(first.getState()), keyOf("a"));
    peer.get(initial, "no list"_kj.asBytes());
  }
  EXPECT_LE(service.memory->used(), before + (4 << 20));
}

TEST(RequestMemory, BeyondTheLimitIsAnAnswer) {
  FixtureOptions options;
  // The stores take their first segments from it; what is left is less than the request.
  {
    Service probe;
    options.memoryBytes = probe.memory->used() + (2 << 20);
  }
  Service service(options);
  Peer peer(service, 0);
  auto reply =
      peer.set(peer.initialState(), packedKeys({"a"}), packed({std::string(4 << 20, 'v')}));
  EXPECT_EQ(reasonOf(reply), rpc::Reason::OUT_OF_MEMORY);
  EXPECT_TRUE(peer.hasState(peer.initialState()).getFound());
}

// One session's requests must not take the memory of all.
TEST(RequestMemory, IsBoundedForEachSession) {
  FixtureOptions options;
  options.limits.requestBytes = 1 << 20;
  options.workers = 1;
  Service service(options);
  Peer peer(service, 0);
  kj::MutexGuarded<bool> opened(false);
  auto blocked = KJ_ASSERT_NONNULL(service.host.workers.run([&](const Stop&) {
    ledger::testing::await("the gate", opened, [](bool value) { return value; });
    return 0;
  }));
  KJ_DEFER(*opened.lockExclusive() = true);
  auto body = packed({std::string(900000, 'k')});
  auto send = [&]() {
    auto request = peer.session.proveRequest();
    request.setState(service.ledger->initialState().ptr());
    rpc::setInline(request.initKeys(), body);
    return request.send();
  };
  auto first = send(), second = send(), last = send();
  ledger::testing::await("the requests", [&]() {
    service.io.waitScope.poll();
    return service.host.workers.queued() >= 3;
  });
  *opened.lockExclusive() = true;
  first.wait(service.io.waitScope);
  second.wait(service.io.waitScope);
  auto third = last.wait(service.io.waitScope);
  ASSERT_EQ(reasonOf(third), rpc::Reason::OUT_OF_MEMORY);
  const std::string message = third.getError().getMessage().cStr();
  EXPECT_NE(message.find("the session's requests"), std::string::npos) << message;
}

}  // namespace
}  // namespace ledger::server
