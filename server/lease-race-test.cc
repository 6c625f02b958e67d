// SPDX-License-Identifier: Apache-2.0
// A reader that goes on when its reference has ended, while others' values come to lie where it
// reads: it may find out that what it read is not to be trusted, and must never take it for good.
//
// The reader runs on a thread of its own and looks as a client does: through read-only mappings,
// the lease last. The references end under it, a million times, and their place is filled with
// another value at once.

#include "server/store-references.h"
#include "shm/mapped-arena.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/thread.h>

#include <algorithm>
#include <atomic>
#include <map>

namespace ledger::server {
namespace {

constexpr uint64_t ROUNDS = 1'000'000;
constexpr size_t LENGTH = 512;

// What a client knows of its reference, and what its value must be: this byte all over.
struct Told {
  const kj::byte* value = nullptr;
  const uint64_t* lease = nullptr;
  uint64_t leaseValue = 0;
  kj::byte fill = 0;
};

struct Seen {
  uint64_t good = 0, taken = 0, wrong = 0;
};

Seen readUntil(const std::atomic<bool>& done, const kj::MutexGuarded<Told>& told) {
  Seen seen;
  kj::byte copy[LENGTH];
  while (!done.load(std::memory_order_relaxed)) {
    const Told mine = *told.lockShared();
    if (mine.value == nullptr) continue;
    memcpy(copy, mine.value, LENGTH);
    if (!rpc::Lease::holds(mine.lease, mine.leaseValue)) {
      ++seen.taken;
    } else if (std::all_of(copy, copy + LENGTH, [&](kj::byte b) { return b == mine.fill; })) {
      ++seen.good;
    } else {
      ++seen.wrong;
    }
  }
  return seen;
}

class LeaseRace : public ::testing::Test {
protected:
  ~LeaseRace() noexcept override {}

  // The same place, as a peer maps it; each segment and arena once.
  const kj::byte* mapped(const rpc::ArenaSpan& span) {
    auto found = mappings.find(span.arena);
    if (found == mappings.end()) {
      kj::AutoCloseFd fd;
      uint64_t size = 0;
      KJ_IF_MAYBE (opened, references->open(span.arena)) {
        fd = kj::mv(opened->fd);
        size = opened->segment->capacity();
      } else {
        auto arena = KJ_ASSERT_NONNULL(arenas->find(span.arena));
        fd = arena->openReadOnly();
        size = arena->capacity();
      }
      auto made = shm::MappedArena::map(kj::mv(fd), size);
      auto& arena = made.get<kj::Own<const shm::MappedArena>>();
      found = mappings.emplace(span.arena, kj::mv(arena)).first;
    }
    auto bytes = found->second->peek(span.offset, span.length);
    return bytes.get<kj::ArrayPtr<const kj::byte>>().begin();
  }

  kj::Own<const shm::MemoryBudget> memory =
      shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 30);
  kj::Own<const shm::ArenaSet> arenas =
      shm::ArenaSet::create(*memory, kj::atomicRefcounted<shm::RetiredArenas>());
  kj::Own<const StoreReferences> references = kj::atomicRefcounted<StoreReferences>(
      kj::atomicAddRef(*arenas), kj::atomicRefcounted<shm::RetiredArenas>(),
      StoreReferences::Limits{.references = 100, .states = 100});
  kj::Own<const Store> store = kj::atomicRefcounted<Store>(*memory);
  std::map<uint32_t, kj::Own<const shm::MappedArena>> mappings;
};

TEST_F(LeaseRace, AReaderNeverTakesOthersBytesForItsOwn) {
  auto room = arenas->lend(StoreReferences::LEASES_BYTES);
  references->giveLeases(kj::mv(room.get<shm::Region>()));

  kj::MutexGuarded<Told> told;
  std::atomic<bool> done{false};
  Seen seen;
  std::map<const kj::byte*, uint64_t> places;
  {
    kj::Thread reader([&]() { seen = readUntil(done, told); });
    KJ_DEFER(done = true);
    for (uint64_t round = 0; round < ROUNDS; ++round) {
      const kj::byte fill = round % 251;
      kj::byte bytes[LENGTH];
      memset(bytes, fill, LENGTH);
      const PayloadStore::Lengths lengths{0, LENGTH};
      PayloadHandle handle;
      ASSERT_TRUE(store->payloads.allocate(kj::arrayPtr(&lengths, 1), kj::arrayPtr(&handle, 1)) ==
                  nullptr);
      store->payloads.write(handle.ref, Path(), {nullptr, kj::arrayPtr(bytes, LENGTH)});
      Value value = store->payloads.view(handle.ref).value();
      ++places[value.begin()];
      {
        auto referred =
            references->refer(Trie::empty(kj::atomicAddRef(*store)), kj::arrayPtr(&value, 1));
        auto& held = KJ_ASSERT_NONNULL(referred);
        auto* lease = reinterpret_cast<const uint64_t*>(mapped(held.lease.place));
        *told.lockExclusive() = Told{mapped(held.spans[0]), lease, held.lease.value, fill};
      }
      store->payloads.release(handle);
    }
  }
  EXPECT_EQ(seen.wrong, 0u);
  EXPECT_GT(seen.good, 0u);
  EXPECT_GT(seen.taken, 0u) << "there was no race";
  EXPECT_LT(places.size(), 10u) << "the places are used again";
}

}  // namespace
}  // namespace ledger::server
