// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/update.h"

#include "ledger/forest.h"
#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>

#include <map>
#include <random>
#include <unordered_set>
#include <vector>

namespace ledger {
namespace {

constexpr SegmentSizes SMALL{uint64_t(64) << 10, uint64_t(1) << 20, uint64_t(64) << 10};

kj::Own<const Store> makeStore(uint64_t limit = uint64_t(1) << 32) {
  return kj::atomicRefcounted<Store>(*shm::MemoryBudget::create("--memory-limit", limit), SMALL);
}

struct Write {
  Path path;
  std::vector<kj::byte> key, value;
};

kj::Own<const Trie> update(const Trie& parent, const std::vector<Write>& writes,
                           const ThreadPool& pool = ThreadPool::none()) {
  TrieUpdater updater(kj::atomicAddRef(parent), pool);
  auto paths = KJ_MAP(write, writes) {
    return write.path;
  };
  auto payloads = KJ_MAP(write, writes) {
    return Payload{kj::arrayPtr(write.key.data(), write.key.size()),
                   kj::arrayPtr(write.value.data(), write.value.size())};
  };
  KJ_ASSERT(updater.plan(paths, payloads, Stop::never()));
  KJ_ASSERT(updater.reserve() == nullptr);
  return updater.build();
}

std::string hex(const Hash& hash) {
  return kj::encodeHex(hash.ptr()).cStr();
}

// The payloads of flow-go's own trie tests: a key of one part of type 0 and a value, two bytes
// each.
Write light(Path path, uint16_t key, uint16_t value) {
  auto high = [](uint16_t word) { return kj::byte(word >> 8); };
  auto low = [](uint16_t word) { return kj::byte(word); };
  return {path, {0, 1, 0, 0, 0, 4, 0, 0, high(key), low(key)}, {high(value), low(value)}};
}

Path left(uint16_t number) {
  Path path;
  path.bytes[30] = number >> 8;
  path.bytes[31] = number & 0xff;
  return path;
}

// flow-go's test generator.
class Generator {
public:
  uint16_t next() {
    state = (state * 1140671485 + 12820163) % 65536;
    return state;
  }
  std::vector<Write> writes(size_t count) {
    std::vector<Write> result;
    for (size_t i = 0; i < count; ++i) {
      auto path = left(next());
      auto value = next();
      result.push_back(light(path, value, value));
    }
    return result;
  }

private:
  uint64_t state = 0;
};

TEST(TrieUpdate, ReachesFlowGosRootsForSingleRegisters) {
  auto empty = Trie::empty(makeStore());
  EXPECT_EQ(hex(empty->rootHash()),
            "568f4ec740fe3b5de88034cb7b1fbddb41548b068f31aebc8ae9189e429c5749");
  EXPECT_EQ(hex(update(*empty, {light(left(0), 11, 12345)})->rootHash()),
            "b30c99cc3e027a6ff463876c638041b1c55316ed935f1b3699e52a2c3e3eaaab");
  Path ones;
  ones.bytes.fill(0xff);
  EXPECT_EQ(hex(update(*empty, {light(ones, 12346, 54321)})->rootHash()),
            "4313d22bcabbf21b1cfb833d38f1921f06a91e7198a6672bc68fa24eaaa1a961");
  EXPECT_EQ(hex(update(*empty, {light(left(56809), 12346, 59656)})->rootHash()),
            "4a29dad0b7ae091a1f035955e0c9aab0692b412f60ae83290b6290d4bf3eb296");
}

TEST(TrieUpdate, ReachesFlowGosRootForAFullSubtrie) {
  auto empty = Trie::empty(makeStore());
  Generator generator;
  std::vector<Write> writes;
  for (unsigned i = 0; i < 65536; ++i) {
    auto value = generator.next();
    writes.push_back(light(left(i), value, value));
  }
  EXPECT_EQ(hex(update(*empty, writes)->rootHash()),
            "6b3a48d672744f5586c571c47eae32d7a4a3549c1d4fa51a0acfd7b720471de9");
}

TEST(TrieUpdate, ReachesFlowGosRootsOverTwentyUpdates) {
  const char* expected[] = {
      "08db9aeed2b9fcc66b63204a26a4c28652e44e3035bd87ba0ed632a227b3f6dd",
      "2f4b0f490fa05e5b3bbd43176e367c3e9b64cdb710e45d4508fff11759d7a08e",
      "668811792995cd960e7e343540a360682ac375f7ec5533f774c464cd6b34adc9",
      "169c145eaeda2038a0e409068a12cb26bde5e890115ad1ef624f422007fb2d2a",
      "8f87b503a706d9eaf50873030e0e627850c841cc0cf382187b81ba26cec57588",
      "faacc057336e10e13ff6f5667aefc3ac9d9d390b34ee50391a6f7f305dfdf761",
      "049e035735a13fee09a3c36a7f567daf05baee419ac90ade538108492d80b279",
      "7bb8340a9772ab6d6aa4862b23c8bb830da226cdf6f6c26f1e1e850077be600af",
  };
  Generator generator;
  auto trie = Trie::empty(makeStore());
  auto path = left(generator.next());
  auto value = generator.next();
  trie = update(*trie, {light(path, value, value)});
  for (unsigned round = 0; round < 7; ++round) {
    trie = update(*trie, generator.writes(100 * round));
    EXPECT_EQ(hex(trie->rootHash()), expected[round]) << round;
  }
  for (unsigned round = 7; round < 20; ++round) {
    trie = update(*trie, generator.writes(100 * round));
  }
  EXPECT_EQ(hex(trie->rootHash()),
            "ce633e9ca6329d6984c37a46e0a479bb1841674c2db00970dacfe035882d4aba");
}

TEST(TrieUpdate, UnallocatingLeavesTheRootOfWhatIsLeft) {
  auto empty = Trie::empty(makeStore());
  Generator generator;
  auto first = generator.writes(99);
  auto second = generator.writes(117);
  auto trie = update(*update(*empty, first), second);
  for (auto& write : first) write.value.clear();
  trie = update(*trie, first);
  EXPECT_EQ(hex(trie->rootHash()),
            "d81e27a93f2bef058395f70e00fb5d3c8e426e22b3391d048b34017e1ecb483e");
  EXPECT_EQ(trie->rootHash(), update(*empty, second)->rootHash());
}

// flow-go's counters with their drift: checkpoints hold them. Keys here take 24 bytes.
class TrieAccounting : public testing::Test {
public:
  ~TrieAccounting() noexcept override {}

protected:
  static Write write(kj::byte number, kj::StringPtr value) {
    Path path;
    path.bytes[0] = number;
    std::vector<kj::byte> key{0, 1, 0, 0, 0, 20, 0, 0};
    key.resize(24, number);
    return {path, key, {value.begin(), value.end()}};
  }
  void apply(std::vector<Write> writes, uint64_t registers, uint64_t bytes) {
    trie = update(*trie, writes);
    EXPECT_EQ(trie->size().registers, registers);
    EXPECT_EQ(trie->size().bytes, bytes);
  }
  kj::Own<const Trie> trie = Trie::empty(makeStore());
};

TEST_F(TrieAccounting, OfARootLeaf) {
  apply({write(0, "xx")}, 1, 26);
  apply({write(0, "")}, 0, 24);
  EXPECT_TRUE(trie->root().isLeaf()) << "the empty leaf stays as the root";
  EXPECT_EQ(trie->rootHash(), hash::defaultHash(TRIE_HEIGHT));
  apply({write(0, "xx")}, 1, 26);
}

TEST_F(TrieAccounting, OfALeafBesideAnother) {
  apply({write(0, "xx"), write(0x80, "yyy")}, 2, 53);
  apply({write(0, "")}, 1, 51);
  apply({write(0, "xx")}, 2, 77);
  apply({write(0, "")}, 1, 75);
  apply({write(0, "xx")}, 2, 101);
  apply({write(0, "")}, 1, 99);
  apply({write(0, "xx")}, 2, 125);
}

TEST_F(TrieAccounting, IsExactWhereSeveralPathsMeetOneLeaf) {
  apply({write(0, "xx")}, 1, 26);
  apply({write(0, ""), write(1, "zz")}, 1, 26);
}

TEST(TrieUpdate, SeveralUnallocationsOfNothingLeaveNoRoot) {
  auto empty = Trie::empty(makeStore());
  auto trie = update(*empty, {{left(1), {0, 0}, {}}, {left(2), {0, 0}, {}}});
  EXPECT_TRUE(trie->root().isNull());
}

TEST(TrieUpdate, TheSameValuesGiveTheSameRootNode) {
  auto store = makeStore();
  Generator generator;
  auto writes = generator.writes(50);
  auto trie = update(*Trie::empty(kj::atomicAddRef(*store)), writes);
  auto live = store->nodes.live();
  auto again = update(*trie, {writes.back()});
  EXPECT_EQ(again->root(), trie->root());
  EXPECT_EQ(store->nodes.live(), live);
}

TEST(TrieUpdate, AnEqualValueKeepsTheStoredKey) {
  auto trie = update(*Trie::empty(makeStore()), {light(left(1), 7, 9)});
  trie = update(*trie, {light(left(1), 8, 9)});
  EXPECT_EQ(KJ_ASSERT_NONNULL(trie->find(left(1))).key()[9], 7);
}

TEST(TrieUpdate, TheLastOfADuplicatePathCounts) {
  auto empty = Trie::empty(makeStore());
  auto trie = update(*empty, {light(left(1), 1, 1), light(left(2), 2, 2), light(left(1), 3, 3)});
  auto plain = update(*empty, {light(left(1), 3, 3), light(left(2), 2, 2)});
  EXPECT_EQ(trie->rootHash(), plain->rootHash());
  EXPECT_EQ(trie->size().bytes, plain->size().bytes);
}

TEST(TrieUpdate, AShortageOfMemoryLeavesTheStoreAsItWas) {
  auto store = makeStore(3 << 20);
  auto trie = Trie::empty(kj::atomicAddRef(*store));
  std::vector<Write> writes{light(left(1), 1, 1), {left(2), {0, 0}, {}}};
  writes[1].value.resize(4 << 20, 1);
  TrieUpdater updater(kj::atomicAddRef(*trie));
  auto paths = KJ_MAP(write, writes) {
    return write.path;
  };
  auto payloads = KJ_MAP(write, writes) {
    return Payload{kj::arrayPtr(write.key.data(), write.key.size()),
                   kj::arrayPtr(write.value.data(), write.value.size())};
  };
  ASSERT_TRUE(updater.plan(paths, payloads, Stop::never()));
  EXPECT_TRUE(updater.reserve() != nullptr);
  EXPECT_EQ(store->nodes.live(), 0u);
  EXPECT_EQ(store->payloads.live(), 0u);
}

TEST(TrieUpdate, AnAbandonedUpdateGivesItsMemoryBack) {
  auto store = makeStore();
  auto trie = update(*Trie::empty(kj::atomicAddRef(*store)), Generator().writes(20));
  auto nodes = store->nodes.live();
  auto bytes = store->payloads.liveBytes();
  {
    TrieUpdater updater(kj::atomicAddRef(*trie));
    auto write = light(left(1), 1, 1);
    Payload payload{kj::arrayPtr(write.key.data(), write.key.size()),
                    kj::arrayPtr(write.value.data(), write.value.size())};
    ASSERT_TRUE(
        updater.plan(kj::arrayPtr(&write.path, 1), kj::arrayPtr(&payload, 1), Stop::never()));
    ASSERT_TRUE(updater.reserve() == nullptr);
    EXPECT_GT(store->nodes.live(), nodes);
  }
  EXPECT_EQ(store->nodes.live(), nodes);
  EXPECT_EQ(store->payloads.liveBytes(), bytes);
}

struct Recount {
  std::unordered_set<uint64_t> nodes, payloads;
  uint64_t leaves = 0, payloadBytes = 0;

  void add(const Store& store, NodeRef node) {
    if (node.isNull() || !nodes.insert(node.slot()).second) return;
    if (node.isLeaf()) {
      ++leaves;
      if (!payloads.insert(store.nodes.leaf(node).payloadCounter()).second) return;
      auto payload = store.payload(node);
      payloadBytes += PayloadStore::spaceFor(
          {uint32_t(payload.key().size()), uint32_t(payload.value().size())});
    } else {
      add(store, store.nodes.interior(node).left);
      add(store, store.nodes.interior(node).right);
    }
  }
};

// Reclamation is exact: what the forest reaches is what lives, after thousands of updates on random
// parents and as many evictions. Every register is compared with a plain map, too.
TEST(TrieUpdate, WhatLivesIsWhatTheForestReaches) {
  auto store = makeStore();
  Forest forest(20);
  std::map<RootHash, std::map<Path, std::vector<kj::byte>>> models;
  std::mt19937 random(3);
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  models[empty->rootHash()];
  forest.add(kj::mv(empty));
  for (int round = 0; round < 3000; ++round) {
    auto tries = forest.tries();
    const auto& parent = *tries[tries.size() - 1 - random() % std::min<size_t>(tries.size(), 4)];
    auto model = models[parent.rootHash()];
    std::vector<Write> writes;
    for (unsigned i = random() % 12 + 1; i > 0; --i) {
      Write write;
      for (auto& byte : write.path.bytes) byte = random() % 2 * 0x80;
      for (size_t b = 3; b < 32; ++b) write.path.bytes[b] = 0;  // 8 paths meet and part often.
      write.path.bytes[3] = random() % 16;
      write.key = {0, 0};
      if (random() % 4) write.value.resize(random() % 300, kj::byte(random()));
      model[write.path] = write.value;
      writes.push_back(kj::mv(write));
    }
    auto trie = update(parent, writes);
    for (auto& [path, value] : model) {
      ASSERT_TRUE(trie->read(path) == kj::arrayPtr(value.data(), value.size()));
    }
    models[trie->rootHash()] = model;
    forest.add(kj::mv(trie));
    if (round % 100 != 99) continue;
    tries = nullptr;
    Recount recount;
    for (auto& held : forest.tries()) recount.add(*store, held->root());
    ASSERT_EQ(store->nodes.live(), recount.nodes.size()) << round;
    ASSERT_EQ(store->liveLeaves(), recount.leaves) << round;
    ASSERT_EQ(store->payloads.live(), recount.payloads.size()) << round;
    ASSERT_EQ(store->payloads.liveBytes(), recount.payloadBytes) << round;
  }
}

// One trie's nodes as the nodes of another: the same shape, and a node that two tries of one side
// share is one that they share on the other.
class Correspondence {
public:
  Correspondence(const Store& a, const Store& b) : a(a), b(b) {}

  void expectSame(NodeRef left, NodeRef right) {
    ASSERT_EQ(left.isNull(), right.isNull());
    if (left.isNull()) return;
    ASSERT_EQ(left.isLeaf(), right.isLeaf());
    auto [known, isNew] = partners.emplace(left.slot(), right.slot());
    ASSERT_EQ(known->second, right.slot()) << "a node is shared on one side only";
    if (!isNew) return;
    ASSERT_TRUE(taken.insert(right.slot()).second) << "a node is shared on one side only";
    ASSERT_EQ(a.nodes.hash(left), b.nodes.hash(right));
    if (left.isLeaf()) {
      ASSERT_EQ(a.nodes.leaf(left).height(), b.nodes.leaf(right).height());
      ASSERT_EQ(a.payload(left).value(), b.payload(right).value());
      return;
    }
    expectSame(a.nodes.interior(left).left, b.nodes.interior(right).left);
    expectSame(a.nodes.interior(left).right, b.nodes.interior(right).right);
  }

private:
  const Store& a;
  const Store& b;
  std::map<uint64_t, uint64_t> partners;
  std::unordered_set<uint64_t> taken;
};

// Where the parts of a large update meet must not show, in whatever shape the trie is there: few
// registers (leaves and nothing above the seam), prefixes in common (all in one part), many.
TEST(TrieUpdate, ManyThreadsMakeTheNodesOfOne) {
  ThreadPool pool(4);
  std::mt19937 random(11);
  for (int round = 0; round < 15; ++round) {
    auto alone = makeStore();
    auto shared = makeStore();
    auto a = Trie::empty(kj::atomicAddRef(*alone));
    auto b = Trie::empty(kj::atomicAddRef(*shared));
    std::vector<Path> known;
    std::vector<kj::Own<const Trie>> kept;
    Correspondence same(*alone, *shared);
    for (int step = 0; step < 6; ++step) {
      std::vector<Write> writes;
      const auto count = std::vector{1, 40, 300, 1500}[random() % 4];
      const bool crowded = random() % 3 == 0;
      const auto unallocated = random() % 3;
      for (int i = 0; i < count; ++i) {
        Path path;
        if (known.size() > 0 && random() % 2) {
          path = known[random() % known.size()];
        } else {
          for (auto& b : path.bytes) b = random();
          if (crowded) path.bytes[0] = 0x5a;
        }
        known.push_back(path);
        Write write{path, {0, 0}, {}};
        if (random() % 4 >= unallocated) write.value = {kj::byte(random() % 3), 1};
        writes.push_back(write);
      }
      kept.push_back(kj::mv(a));
      a = update(*kept.back(), writes);
      kept.push_back(kj::mv(b));
      b = update(*kept.back(), writes, pool);
      ASSERT_EQ(a->rootHash(), b->rootHash()) << round << " " << step;
      ASSERT_EQ(a->size().registers, b->size().registers);
      ASSERT_EQ(a->size().bytes, b->size().bytes);
      same.expectSame(a->root(), b->root());
      ASSERT_FALSE(HasFatalFailure()) << round << " " << step;
      ASSERT_EQ(alone->nodes.live(), shared->nodes.live());
      ASSERT_EQ(alone->liveLeaves(), shared->liveLeaves());
      ASSERT_EQ(alone->payloads.liveBytes(), shared->payloads.liveBytes());
    }
  }
}

// The root is a function of the registers, whatever way they came: leaves pushed down and risen
// again have the hash of leaves that were always there.
TEST(TrieUpdate, TheRootDependsOnTheRegistersAlone) {
  auto store = makeStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  std::mt19937 random(5);
  for (int round = 0; round < 30; ++round) {
    std::map<Path, Write> model;
    auto trie = kj::atomicAddRef(*empty);
    for (int step = 0; step < 10; ++step) {
      std::vector<Write> writes;
      for (int i = 0; i < 6; ++i) {
        Path path;
        // Common prefixes around CHAIN_HEIGHT and at the very bottom.
        unsigned bits[] = {0, 1, 5, 39, 40, 41, 42, 200, 255};
        auto bit = bits[random() % 9];
        path.bytes[bit / 8] |= 0x80 >> bit % 8;
        Write write{path, {0, 0}, {}};
        if (random() % 3) write.value = {kj::byte(random()), 1};
        model[path] = write;
        writes.push_back(write);
      }
      trie = update(*trie, writes);
      std::vector<Write> all;
      for (auto& [path, write] : model) {
        if (!write.value.empty()) all.push_back(write);
      }
      ASSERT_EQ(update(*empty, all)->rootHash(), trie->rootHash()) << round << " " << step;
    }
  }
}

}  // namespace
}  // namespace ledger
