// SPDX-License-Identifier: Apache-2.0
// Who is given a state of the store to read, and for how long.

#include "ledger/trie/format.h"
#include "server/service-fixture.h"

#include <gtest/gtest.h>

#include <unistd.h>

namespace ledger::server {
namespace {

constexpr uint64_t VIEWS = rpc::FEATURE_SHARED_MEMORY | rpc::FEATURE_STATE_VIEWS;

FixtureOptions ours() {
  FixtureOptions options;
  options.storeReaders = {geteuid()};
  return options;
}

auto openView(Peer& peer, const std::string& state) {
  auto request = peer.session.openViewRequest();
  request.setState(Peer::dataOf(state));
  return peer.send(request);
}

uint64_t wordAt(Peer& peer, uint32_t arena, uint64_t offset) {
  uint64_t word;
  const auto bytes = peer.readArena({arena, offset, sizeof(word)});
  memcpy(&word, bytes.data(), sizeof(word));
  return word;
}

TEST(ServedViews, NameTheRootAndItsSegments) {
  Service service(ours());
  Peer peer(service, VIEWS);
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {"value"});
  auto reply = openView(peer, state);
  ASSERT_TRUE(reply.isView());
  auto view = reply.getView();
  ASSERT_EQ(view.getNodes().size(), 1u);
  ASSERT_EQ(view.getPayloads().size(), 1u);

  // One register: the root is its leaf. As docs/formats.md says it is read.
  const uint64_t root = view.getRoot();
  EXPECT_TRUE(NodeRef::fromBits(root).isLeaf());
  const uint32_t nodes = view.getNodes()[0].getArena(), payloads = view.getPayloads()[0].getArena();
  const auto slot = peer.readArena({nodes, (root & 0xffffff) * NODE_SLOT_SIZE, NODE_SLOT_SIZE});
  EXPECT_EQ(slot.substr(16), state);
  uint64_t record;
  memcpy(&record, slot.data(), sizeof(record));
  const auto header = peer.readArena({payloads, record & 0xffffffffff, sizeof(PayloadHeader)});
  uint32_t keyWord, length;
  memcpy(&keyWord, header.data(), 4);
  memcpy(&length, header.data() + 4, 4);
  EXPECT_EQ(length, 5u);
  EXPECT_EQ(peer.readArena({payloads,
                            (record & 0xffffffffff) + sizeof(PayloadHeader) + (keyWord & 0x3fffffff),
                            length}),
            "value");
}

TEST(ServedViews, EndWithTheirRegion) {
  Service service(ours());
  Peer peer(service, VIEWS);
  const auto state = peer.mustSet(peer.initialState(), {"a"}, {"value"});
  uint32_t arena;
  uint64_t offset, value;
  {
    auto reply = openView(peer, state);
    auto view = reply.getView();
    arena = view.getLeaseArena(), offset = view.getLease(), value = view.getLeaseValue();
    EXPECT_NE(value, 0u);
    EXPECT_EQ(wordAt(peer, arena, offset), value);
  }
  peer.initialState();  // The drop has arrived.
  EXPECT_NE(wordAt(peer, arena, offset), value);
}

TEST(ServedViews, TellWhenTheStateIsEvicted) {
  auto options = ours();
  options.forestCapacity = 3;
  Service service(options);
  Peer peer(service, VIEWS);
  auto state = peer.mustSet(peer.initialState(), {"a"}, {"value"});
  auto reply = openView(peer, state);
  auto view = reply.getView();
  auto newest = state;
  for (int block = 0; block < 5; ++block) {
    const bool isHere =
        wordAt(peer, view.getEvictionsArena(), view.getEvictions()) <= view.getEvictedAbove();
    EXPECT_EQ(isHere, service.ledger->hasState(RootHash::copyOf(Peer::dataOf(state)))) << block;
    newest = peer.mustSet(newest, {"b"}, {std::to_string(block)});
  }
  EXPECT_EQ(openView(peer, state).getError().getReason(), rpc::Reason::UNKNOWN_STATE);
  EXPECT_EQ(wordAt(peer, view.getLeaseArena(), view.getLease()), view.getLeaseValue());
}

TEST(ServedViews, AreBounded) {
  auto options = ours();
  options.limits.referencedStates = 2;
  Service service(options);
  Peer peer(service, VIEWS);
  auto state = peer.initialState();
  kj::Vector<capnp::Response<rpc::OpenViewReply>> held;
  for (int block = 0; block < 2; ++block) {
    state = peer.mustSet(state, {"a"}, {std::to_string(block)});
    held.add(openView(peer, state));
    ASSERT_TRUE(held.back().isView());
  }
  held.add(openView(peer, state));
  EXPECT_TRUE(held.back().isView()) << "the same state again";
  state = peer.mustSet(state, {"a"}, {"more"});
  EXPECT_EQ(openView(peer, state).getError().getReason(), rpc::Reason::QUOTA);
  held.clear();
  EXPECT_TRUE(openView(peer, state).isView());
}

TEST(ServedViews, AreRefusedToOthers) {
  auto options = ours();
  options.storeReaders = {geteuid() + 1};
  {
    Service foreign(options);
    Peer stranger(foreign, VIEWS);
    EXPECT_EQ(openView(stranger, stranger.initialState()).getError().getCode(),
              rpc::Code::UNIMPLEMENTED);
  }
  Service service(ours());
  Peer withoutArenas(service, rpc::FEATURE_STATE_VIEWS), didNotAsk(service);
  for (auto* peer : {&withoutArenas, &didNotAsk}) {
    EXPECT_EQ(openView(*peer, peer->initialState()).getError().getCode(),
              rpc::Code::UNIMPLEMENTED);
  }
  Peer peer(service, VIEWS);
  EXPECT_EQ(openView(peer, "short").getError().getReason(), rpc::Reason::BAD_STATE);
  EXPECT_EQ(openView(peer, std::string(32, 'x')).getError().getReason(),
            rpc::Reason::UNKNOWN_STATE);
}

// It would read slots for something that they are not.
TEST(ServedViews, AreNotOfferedToWhoReadsAnotherLayout) {
  Service service(ours());
  Peer old(service, VIEWS, rpc::messageWordsFor(8 << 20), LAYOUT_VERSION + 1);
  EXPECT_EQ(openView(old, old.initialState()).getError().getCode(), rpc::Code::UNIMPLEMENTED);
}

}  // namespace
}  // namespace ledger::server
