// SPDX-License-Identifier: Apache-2.0
// Large values that a client reads in the store, where they lie.

#include "server/service-fixture.h"

#include <gtest/gtest.h>

#include <set>

#include <unistd.h>

namespace ledger::server {
namespace {

using Strings = std::vector<std::string>;

constexpr uint64_t SHARED = rpc::FEATURE_SHARED_MEMORY;
constexpr uint64_t STORE = SHARED | rpc::FEATURE_TABLES;
constexpr size_t LARGE = 1 << 20;

FixtureOptions ours() {
  FixtureOptions options;
  options.storeReaders = {geteuid()};
  return options;
}

std::string large(char fill) {
  return std::string(LARGE, fill);
}

// Whether what the client holds was copied for it: more than tables.
bool isCopied(Peer& peer) {
  kj::Maybe<capnp::Response<rpc::InfoReply>> holder;
  return peer.info(holder).getArenas().getLentBytes() >= LARGE;
}

rpc::ArenaSpan firstSpan(Peer& peer, rpc::Bulk::Table::Reader table) {
  const auto entries =
      peer.readArena({table.getArena(), table.getOffset(), rpc::tableSize(table.getCount())});
  auto spans = rpc::parseTable(Bytes(Peer::dataOf(entries)), table.getLength());
  return spans.get<kj::Array<rpc::ArenaSpan>>()[0];
}

TEST(StoredValues, OneIsReadWithoutACopy) {
  Service service(ours());
  Peer peer(service, STORE);
  const auto state = peer.mustSet(peer.initialState(), {"a", "b"}, {"short", large('b')});
  auto reply = peer.getSingleValue(state, keyOf("b"));
  ASSERT_TRUE(reply.getValue().isTable());
  EXPECT_EQ(peer.bytesOf(reply.getValue()), large('b'));
  EXPECT_FALSE(isCopied(peer));
}

TEST(StoredValues, ManyAreATable) {
  Service service(ours());
  Peer peer(service, STORE);
  const Strings values = {large('a'), "short", large('c'), std::string(3 * LARGE, 'd')};
  const auto state = peer.mustSet(peer.initialState(), {"a", "b", "c", "d"}, values);
  auto reply = peer.get(state, packedKeys({"d", "absent", "a", "b", "a", "c"}));
  ASSERT_TRUE(reply.getValues().isTable());
  EXPECT_EQ(unpacked(Bytes(Peer::dataOf(peer.bytesOf(reply.getValues())))),
            (Strings{values[3], "", values[0], values[1], values[0], values[2]}));
}

TEST(StoredValues, ShortOnesAreCopied) {
  Service service(ours());
  Peer peer(service, STORE);
  Strings names, values;
  for (int i = 0; i < 1000; ++i) {
    names.push_back(std::to_string(i));
    values.push_back(std::string(100, char('a' + i % 26)));
  }
  const auto state = peer.mustSet(peer.initialState(), names, values);
  auto reply = peer.get(state, packedKeys(names));
  EXPECT_TRUE(reply.getValues().isSpan());
  EXPECT_EQ(unpacked(Bytes(Peer::dataOf(peer.bytesOf(reply.getValues())))), values);
}

// Another user's client, or one that did not ask for it.
TEST(StoredValues, OthersGetCopies) {
  auto options = ours();
  options.storeReaders = {geteuid() + 1};
  Service foreign(options);
  {
    Peer peer(foreign, STORE);
    const auto state = peer.mustSet(peer.initialState(), {"a"}, {large('a')});
    auto reply = peer.getSingleValue(state, keyOf("a"));
    EXPECT_EQ(peer.bytesOf(reply.getValue()), large('a'));
    EXPECT_TRUE(isCopied(peer));
    kj::Maybe<capnp::Response<rpc::InfoReply>> holder;
    EXPECT_EQ(peer.info(holder).getFeatures(), SHARED);
  }
}

TEST(StoredValues, WhoDoesNotAskForThemGetsCopies) {
  Service service(ours());
  Peer peer(service, SHARED);
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {large('a')});
  auto reply = peer.getSingleValue(state, keyOf("a"));
  EXPECT_EQ(peer.bytesOf(reply.getValue()), large('a'));
  EXPECT_TRUE(isCopied(peer));
}

// The state leaves the forest, and its space would be used again.
TEST(StoredValues, AHeldRegionKeepsThem) {
  auto options = ours();
  options.forestCapacity = 2;
  Service service(options);
  Peer peer(service, STORE);
  auto state = peer.mustSet(peer.initialState(), {"a"}, {large('a')});
  auto held = kj::heap(peer.getSingleValue(state, keyOf("a")));
  ASSERT_TRUE((*held).getValue().isTable());
  const auto arena = firstSpan(peer, (*held).getValue().getTable()).arena;
  for (char fill = 'b'; fill < 'l'; ++fill) {
    state = peer.mustSet(state, {"a"}, {large(fill)});
    EXPECT_EQ(peer.bytesOf((*held).getValue()), large('a'));
  }
  const auto before = service.ledger->stats().values;
  held = nullptr;
  // Dropped with the next message, and freed by a worker.
  for (int i = 0; service.ledger->stats().values == before; ++i) {
    ASSERT_LT(i, 1000) << "the region was dropped, the value is still there";
    peer.initialState();
    service.io.provider->getTimer().afterDelay(10 * kj::MILLISECONDS).wait(service.io.waitScope);
  }
  auto request = peer.session.openArenaRequest();
  request.setId(arena);
  EXPECT_EQ(peer.send(request).getError().getReason(), rpc::Reason::BAD_ARENA);
}

// A client that reads on when its connection is gone must find out.
TEST(StoredValues, TheLeaseEndsBeforeTheMemoryIsUsedAgain) {
  auto options = ours();
  options.forestCapacity = 2;
  Service service(options);
  Peer writer(service, SHARED);
  auto state = writer.mustSet(writer.initialState(), {"a"}, {large('a')});
  void* mapped;
  const uint64_t* lease;
  uint64_t value;
  size_t size;
  {
    Peer reader(service, STORE);
    auto reply = reader.getSingleValue(state, keyOf("a"));
    auto table = reply.getValue().getTable();
    auto request = reader.session.openArenaRequest();
    request.setId(table.getLeaseArena());
    auto opened = reader.send(request);
    auto arena = opened.getOpened().getArena();
    const int fd = KJ_REQUIRE_NONNULL(arena.getFd().wait(service.io.waitScope));
    size = opened.getOpened().getSize();
    mapped = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    ASSERT_NE(mapped, MAP_FAILED);
    value = table.getLeaseValue();
    ASSERT_NE(value, 0u);
    lease = reinterpret_cast<const uint64_t*>(static_cast<char*>(mapped) + table.getLease());
    for (char fill = 'b'; fill < 'g'; ++fill) state = writer.mustSet(state, {"a"}, {large(fill)});
    EXPECT_EQ(__atomic_load_n(lease, __ATOMIC_SEQ_CST), value);
  }
  const auto before = service.ledger->stats().values;
  for (int i = 0; service.ledger->stats().values == before; ++i) {
    ASSERT_LT(i, 1000) << "the connection is gone, the value is still there";
    service.io.provider->getTimer().afterDelay(10 * kj::MILLISECONDS).wait(service.io.waitScope);
  }
  EXPECT_NE(__atomic_load_n(lease, __ATOMIC_SEQ_CST), value);
  munmap(mapped, size);
}

// Or a view of what was there before would take what is there now for its own.
TEST(StoredValues, ALeaseNeverComesAgain) {
  Service service(ours());
  Peer peer(service, STORE);
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {large('a')});
  std::set<std::pair<uint64_t, uint64_t>> seen;
  std::set<uint64_t> places;
  for (int i = 0; i < 50; ++i) {
    auto reply = peer.getSingleValue(state, keyOf("a"));
    auto table = reply.getValue().getTable();
    EXPECT_TRUE(seen.emplace(table.getLease(), table.getLeaseValue()).second) << i;
    places.insert(table.getLease());
  }
  EXPECT_LT(places.size(), 10u) << "the places are used again";
}

// Of no trie at all.
TEST(StoredValues, ThereMayBeNone) {
  auto options = ours();
  options.limits.inlineThreshold = 0;
  Service service(options);
  Peer peer(service, STORE);
  auto reply = peer.get(peer.initialState(), packedKeys({}));
  EXPECT_EQ(unpacked(Bytes(Peer::dataOf(peer.bytesOf(reply.getValues())))), Strings());
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {large('a')});
  auto absent = peer.getSingleValue(state, keyOf("absent"));
  EXPECT_EQ(peer.bytesOf(absent.getValue()), "");
}

// A client that keeps old states is not given more of them.
TEST(StoredValues, TheStatesThatAClientKeepsAreBounded) {
  auto options = ours();
  options.limits.referencedStates = 3;
  Service service(options);
  Peer peer(service, STORE);
  kj::Vector<capnp::Response<rpc::ValueReply>> held;
  auto state = peer.initialState();
  for (char fill = 'a'; fill < 'f'; ++fill) {
    state = peer.mustSet(state, {"a"}, {large(fill)});
    for (int twice = 0; twice < 2; ++twice) {
      held.add(peer.getSingleValue(state, keyOf("a")));
      EXPECT_EQ(peer.bytesOf(held.back().getValue()), large(fill));
    }
    EXPECT_EQ(isCopied(peer), fill >= 'd') << fill;
  }
}

TEST(StoredValues, AreCopiedWhereNoReferenceIsLeft) {
  auto options = ours();
  options.limits.regions = 3;  // The leases' and two tables'.
  Service service(options);
  Peer peer(service, STORE);
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {large('a')});
  auto first = peer.getSingleValue(state, keyOf("a"));
  auto second = peer.getSingleValue(state, keyOf("a"));
  EXPECT_FALSE(isCopied(peer));
  auto third = peer.getSingleValue(state, keyOf("a"));
  EXPECT_TRUE(second.getValue().isTable());
  EXPECT_FALSE(third.getValue().isTable());
  EXPECT_EQ(peer.bytesOf(third.getValue()), large('a'));
}

// One segment, one id: the client maps it once.
TEST(StoredValues, ASegmentKeepsItsId) {
  Service service(ours());
  Peer peer(service, STORE);
  const auto state = peer.mustSet(peer.initialState(), {"a", "b"}, {large('a'), large('b')});
  kj::Maybe<uint32_t> id;
  for (auto name : {"a", "b", "a"}) {
    auto reply = peer.getSingleValue(state, keyOf(name));
    const uint32_t arena = firstSpan(peer, reply.getValue().getTable()).arena;
    EXPECT_EQ(arena, id.orDefault(arena));
    id = arena;
  }
}

TEST(StoredValues, InABatchWithOneOfThemTheyAreNotCopied) {
  Service service(ours());
  Peer peer(service, STORE);
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {large('a')});
  auto request = peer.session.batchRequest();
  auto operations = request.initOperations(2);
  operations[0].initHasState().setState(Peer::dataOf(state));
  auto single = operations[1].initGetSingleValue();
  single.setState(Peer::dataOf(state));
  auto key = keyOf("a");
  single.setKey(key);
  auto reply = peer.send(request);
  EXPECT_TRUE(reply.getResults()[0].getHasState().getFound());
  EXPECT_EQ(peer.bytesOf(reply.getResults()[1].getGetSingleValue().getValue()), large('a'));
  EXPECT_FALSE(isCopied(peer));
}

}  // namespace
}  // namespace ledger::server
