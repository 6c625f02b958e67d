// SPDX-License-Identifier: Apache-2.0
// A reader of a state that is taken back from it, while others' nodes and values come to lie where
// it reads: it never takes theirs for its own.
//
//   LEDGERD_RACE_ROUNDS=1000000   instead of a short run

#include "client/state-view.h"
#include "ledger/trie/update.h"
#include "schema/bulk.h"
#include "server/store-references.h"
#include "shm/mapped-arena.h"

#include <kj/thread.h>

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace ledger::client {
namespace {

constexpr size_t REGISTERS = 8;
constexpr size_t LENGTH = 48;

// Of a value of state `number`, all over.
kj::byte fillOf(uint64_t number, size_t index) {
  return (number * 31 + index * 7) % 251;
}

class ViewLease final : public Lease {
public:
  ViewLease(const uint64_t* at, uint64_t value) : at(at), value(value) {}
  bool isIntact() const override { return rpc::Lease::holds(at, value); }

private:
  const uint64_t* at;
  uint64_t value;
};

class ViewRace : public ::testing::Test {
public:
  ViewRace() {
    std::mt19937_64 random(3);
    for (auto& path : paths) {
      for (auto& byte : path.bytes) byte = random();
    }
    auto room = arenas->lend(server::StoreReferences::LEASES_BYTES);
    references->giveLeases(kj::mv(room.get<shm::Region>()));
  }
  ~ViewRace() noexcept override {}

protected:
  // A trie with all registers, made for state `number` alone.
  kj::Own<const Trie> build(uint64_t number) {
    kj::byte bytes[REGISTERS][LENGTH];
    Payload payloads[REGISTERS];
    for (size_t i = 0; i < REGISTERS; ++i) {
      memset(bytes[i], fillOf(number, i), LENGTH);
      payloads[i] = {kj::arrayPtr(bytes[i], 2), kj::arrayPtr(bytes[i], LENGTH)};
    }
    TrieUpdater updater(Trie::empty(kj::atomicAddRef(*store)));
    KJ_REQUIRE(updater.plan(kj::arrayPtr(paths.data(), paths.size()), payloads, Stop::never()));
    KJ_REQUIRE(updater.reserve() == nullptr);
    return updater.build();
  }

  // As a peer maps it; each segment and arena once.
  const shm::MappedArena& mapped(uint32_t id) {
    auto found = mappings.find(id);
    if (found == mappings.end()) {
      kj::AutoCloseFd fd;
      uint64_t size = 0;
      KJ_IF_MAYBE (opened, references->open(id)) {
        fd = kj::mv(opened->fd);
        size = opened->segment->capacity();
      } else {
        auto arena = KJ_ASSERT_NONNULL(arenas->find(id));
        fd = arena->openReadOnly();
        size = arena->capacity();
      }
      auto made = shm::MappedArena::map(kj::mv(fd), size);
      auto& arena = made.get<kj::Own<const shm::MappedArena>>();
      found = mappings.emplace(id, kj::mv(arena)).first;
    }
    return *found->second;
  }
  const kj::byte* begin(uint32_t id) {
    auto bytes = mapped(id).peek(0, mapped(id).size());
    return bytes.get<kj::ArrayPtr<const kj::byte>>().begin();
  }

  kj::Array<StateView::Segment> segmentsOf(
      kj::ArrayPtr<const server::StoreReferences::ReferredStore::Segment> from) {
    return KJ_MAP(segment, from) {
      return StateView::Segment{begin(segment.arena), segment.committed};
    };
  }

  kj::Own<const StateView> viewOf(const server::StoreReferences::ReferredStore& referred) {
    auto lease = kj::atomicRefcounted<ViewLease>(
        reinterpret_cast<const uint64_t*>(begin(referred.lease.place.arena) +
                                          referred.lease.place.offset),
        referred.lease.value);
    return kj::atomicRefcounted<StateView>(
        RootHash(),
        StateView::Store{
            referred.root.bits(), segmentsOf(referred.nodes), segmentsOf(referred.payloads),
            reinterpret_cast<const uint64_t*>(begin(referred.evictionsArena)), UINT64_MAX},
        kj::mv(lease), kj::atomicAddRef(*connection));
  }

  std::array<Path, REGISTERS> paths;
  kj::Own<const shm::MemoryBudget> memory =
      shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 30);
  kj::Own<const shm::ArenaSet> arenas =
      shm::ArenaSet::create(*memory, kj::atomicRefcounted<shm::RetiredArenas>());
  kj::Own<const server::StoreReferences> references =
      kj::atomicRefcounted<server::StoreReferences>(
          kj::atomicAddRef(*arenas), kj::atomicRefcounted<shm::RetiredArenas>(),
          server::StoreReferences::Limits{.references = 100, .states = 100});
  kj::Own<const Store> store = kj::atomicRefcounted<Store>(*memory);
  Forest forest{1};  // For its page.
  kj::Own<ConnectionEnd> connection = kj::atomicRefcounted<ConnectionEnd>();
  std::map<uint32_t, kj::Own<const shm::MappedArena>> mappings;
};

TEST_F(ViewRace, AReaderNeverTakesOthersBytesForItsOwn) {
  const char* wanted = getenv("LEDGERD_RACE_ROUNDS");
  const uint64_t rounds = wanted == nullptr ? 1'500 : std::stoull(wanted);
  struct Told {
    kj::Own<const StateView> view;
    uint64_t number;
  };
  kj::MutexGuarded<kj::Maybe<Told>> told;
  std::atomic<bool> done{false};
  uint64_t good = 0, taken = 0, wrong = 0, senseless = 0;
  {
    kj::Thread reader([&]() {
      kj::byte copy[LENGTH];
      for (size_t i = 0; !done.load(std::memory_order_relaxed); i = (i + 1) % REGISTERS) {
        kj::Own<const StateView> view;
        uint64_t number = 0;
        {
          auto lock = told.lockShared();
          KJ_IF_MAYBE (now, *lock) {
            view = kj::atomicAddRef(*now->view);
            number = now->number;
          } else {
            continue;
          }
        }
        Value value;
        const bool makesSense = view->find(paths[i], value);
        const size_t length = kj::min(value.size(), LENGTH);
        if (makesSense && length > 0) memcpy(copy, value.begin(), length);
        if (view->standing() == StateView::Standing::TAKEN_BACK) {
          ++taken;
          continue;
        }
        if (!makesSense) ++senseless;
        const bool isRight =
            makesSense && value.size() == LENGTH &&
            std::all_of(copy, copy + LENGTH,
                        [&](kj::byte byte) { return byte == fillOf(number, i); });
        ++(isRight ? good : wrong);
      }
    });
    KJ_DEFER(done = true);
    for (uint64_t round = 0; round < rounds; ++round) {
      auto trie = build(round);
      auto referred = references->refer(Ledger::PinnedStore{
          kj::mv(trie), store->segments(), 0, kj::atomicAddRef(forest.evictions())});
      *told.lockExclusive() = Told{viewOf(KJ_ASSERT_NONNULL(referred)), round};
      // The reference ends here: its nodes and values are free for the next round.
    }
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(senseless, 0u);
  EXPECT_GT(good, 0u);
  EXPECT_GT(taken, 0u) << "there was no race";
  EXPECT_LT(store->nodes.committedBytes(), 8u << 20) << "the places are used again";
}

}  // namespace
}  // namespace ledger::client
