// SPDX-License-Identifier: Apache-2.0
// Views over a store that is as it should be, and over one that holds anything at all: a server that
// is mad, or memory that was taken back and used again while it was read.

#include "client/state-view.h"
#include "ledger/path-finder.h"
#include "ledger/trie/update.h"
#include "tests/testing/registers.h"

#include <gtest/gtest.h>

#include <cstring>
#include <iostream>
#include <random>

namespace ledger::client {
namespace {

using testing::Registers;

constexpr size_t REGISTERS = 400;

class KeptLease final : public Lease {
public:
  bool isIntact() const override { return intact; }
  std::atomic<bool> intact{true};
};

// A trie of some registers, and copies of its segments for a view to read.
class StateViews : public ::testing::Test {
public:
  ~StateViews() noexcept override {}

protected:
  StateViews() : registers(REGISTERS, 90) {
    auto store = kj::atomicRefcounted<Store>(
        *shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 32),
        SegmentSizes{uint64_t(32) << 10, uint64_t(64) << 10, uint64_t(32) << 10});
    auto paths = kj::heapArray<Path>(REGISTERS);
    pathsOf(registers.keys, paths);
    kj::Vector<Payload> payloads;
    for (size_t i = 0; i < REGISTERS; ++i) {
      payloads.add(Payload{registers.keys[i], registers.values[i]});
    }
    TrieUpdater updater(Trie::empty(kj::atomicAddRef(*store)));
    KJ_REQUIRE(updater.plan(paths, payloads, Stop::never()));
    KJ_REQUIRE(updater.reserve() == nullptr);
    auto trie = updater.build();
    root = trie->root().bits();
    auto segments = store->segments();
    copyAll(segments.nodes, nodes);
    copyAll(segments.payloads, payloadSegments);
  }

  static void copyAll(kj::ArrayPtr<const NumberedSegment> from,
                      kj::Vector<kj::Array<kj::byte>>& to) {
    for (auto& segment : from) {
      KJ_REQUIRE(segment.number == to.size());
      to.add(kj::heapArray<kj::byte>(segment.memory->bytes().slice(0, segment.committed)));
    }
  }
  static kj::Array<StateView::Segment> mapped(kj::ArrayPtr<kj::Array<kj::byte>> segments) {
    return KJ_MAP(segment, segments) {
      return StateView::Segment{segment.begin(), segment.size()};
    };
  }

  kj::Own<const StateView> view() {
    return kj::atomicRefcounted<StateView>(
        RootHash(),
        StateView::Store{root, mapped(nodes), mapped(payloadSegments), &evictions, evictedAbove},
        kj::atomicAddRef(*lease), kj::atomicAddRef(*connection));
  }

  Registers registers;
  kj::Vector<kj::Array<kj::byte>> nodes, payloadSegments;
  uint64_t root, evictions = 0, evictedAbove = 4;
  kj::Own<KeptLease> lease = kj::atomicRefcounted<KeptLease>();
  kj::Own<ConnectionEnd> connection = kj::atomicRefcounted<ConnectionEnd>();
};

TEST_F(StateViews, FindEveryRegisterAndNoOther) {
  ASSERT_GT(nodes.size(), 1u) << "several segments";
  ASSERT_GT(payloadSegments.size(), 1u) << "several segments";
  auto read = view();
  for (size_t i = 0; i < REGISTERS; ++i) {
    auto value = read->read(registers.keys[i]);
    ASSERT_TRUE(value.is<kj::Array<kj::byte>>());
    EXPECT_TRUE(value.get<kj::Array<kj::byte>>() == registers.values[i]) << i;
  }
  auto absent = testing::keyOf(REGISTERS);
  EXPECT_EQ(read->read(absent).get<kj::Array<kj::byte>>().size(), 0u);
  auto all = read->read(registers.keys);
  auto& values = all.get<kj::Array<kj::Array<kj::byte>>>();
  for (size_t i = 0; i < REGISTERS; ++i) EXPECT_TRUE(values[i] == registers.values[i]) << i;
}

TEST_F(StateViews, StandAsTheServerSays) {
  auto read = view();
  EXPECT_EQ(read->standing(), StateView::Standing::CURRENT);
  evictions = 4;
  EXPECT_EQ(read->standing(), StateView::Standing::CURRENT);
  evictions = 5;
  EXPECT_EQ(read->standing(), StateView::Standing::EVICTED);
  EXPECT_FALSE(read->read(registers.keys[0]).is<Error>());
  connection->lost = true;
  EXPECT_EQ(read->standing(), StateView::Standing::TAKEN_BACK);
  EXPECT_TRUE(read->read(registers.keys[0]).is<Error>());
  connection->lost = false;
  lease->intact = false;
  EXPECT_EQ(read->standing(), StateView::Standing::TAKEN_BACK);
  EXPECT_TRUE(read->read(registers.keys.slice(0, 3)).is<Error>());
}

TEST_F(StateViews, RefuseKeysAsTheLedgerDoes) {
  const kj::byte malformed[] = {0, 1, 0};
  EXPECT_EQ(view()->read(malformed).get<Error>().reason, Reason::BAD_KEY);
}

// A child that is its own parent, or any other way without an end.
TEST_F(StateViews, NeverGoRoundInCircles) {
  for (auto& segment : nodes) {
    for (size_t at = NODE_SLOT_SIZE; at + NODE_SLOT_SIZE <= segment.size(); at += NODE_SLOT_SIZE) {
      memcpy(segment.begin() + at, &root, sizeof(root));
      memcpy(segment.begin() + at + 8, &root, sizeof(root));
    }
  }
  Value value;
  EXPECT_FALSE(view()->find(pathOf(registers.keys[0]), value));
  auto paths = kj::heapArray<Path>(REGISTERS);
  pathsOf(registers.keys, paths);
  auto values = kj::heapArray<Value>(REGISTERS);
  EXPECT_FALSE(view()->find(paths, values));
  EXPECT_THROW(view()->read(registers.keys[0]), kj::Exception);
}

// Whatever the bytes are, a reader stays within them (asan looks on) and comes to an end. What it
// finds, if anything, lies in a payload segment.
TEST_F(StateViews, SurviveAnyBytes) {
  const char* wanted = getenv("LEDGERD_STORE_ROUNDS");
  const unsigned rounds = wanted == nullptr ? 3000 : std::stoul(wanted);
  std::random_device device;
  const char* given = getenv("LEDGERD_SEED");
  const uint64_t seed = given == nullptr ? device() : std::stoull(given);
  std::cout << "LEDGERD_SEED=" << seed << std::endl;
  std::mt19937_64 random(seed);
  auto paths = kj::heapArray<Path>(REGISTERS);
  pathsOf(registers.keys, paths);
  auto values = kj::heapArray<Value>(REGISTERS);

  const auto goodNodes = KJ_MAP(segment, nodes) { return kj::heapArray(segment.asPtr()); };
  const auto goodPayloads =
      KJ_MAP(segment, payloadSegments) { return kj::heapArray(segment.asPtr()); };
  const uint64_t goodRoot = root;
  auto word = [&]() -> uint64_t {
    switch (random() % 5) {
      case 0: return random();
      case 1: return random() % 4096;
      case 2: return NodeRef::LEAF | random() % 4096;
      case 3: return (random() % 4) << NodeRef::SLOT_BITS | random() % 1400;
      default: return (random() % 4) << PayloadRef::OFFSET_BITS | (random() % 70000 & ~7);
    }
  };
  auto damage = [&](kj::Array<kj::byte>& segment) {
    for (uint64_t i = 0, count = random() % 200; i < count; ++i) {
      const uint64_t bytes = word();
      const size_t length = 1 + random() % 8;
      memcpy(segment.begin() + random() % (segment.size() - 8), &bytes, length);
    }
  };
  uint64_t sane = 0, insane = 0;
  for (unsigned round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < nodes.size(); ++i) nodes[i] = kj::heapArray(goodNodes[i].asPtr());
    for (size_t i = 0; i < payloadSegments.size(); ++i) {
      payloadSegments[i] = kj::heapArray(goodPayloads[i].asPtr());
    }
    for (auto& segment : nodes) damage(segment);
    for (auto& segment : payloadSegments) damage(segment);
    root = random() % 8 == 0 ? word() : goodRoot;
    auto read = view();
    auto isInside = [&](Value value) {
      if (value.size() == 0) return true;
      for (auto& segment : payloadSegments) {
        if (value.begin() >= segment.begin() && value.end() <= segment.end()) return true;
      }
      return false;
    };
    for (int i = 0; i < 20; ++i) {
      Value value;
      const bool makesSense = read->find(paths[random() % REGISTERS], value);
      ASSERT_TRUE(!makesSense || isInside(value));
      ++(makesSense ? sane : insane);
    }
    if (read->find(paths, values)) {
      for (auto& value : values) ASSERT_TRUE(isInside(value));
    }
  }
  EXPECT_GT(sane, 0u);
  EXPECT_GT(insane, 0u);
}

}  // namespace
}  // namespace ledger::client
