// SPDX-License-Identifier: Apache-2.0
#include "shm/arena-set.h"

#include <kj/debug.h>
#include <kj/memory.h>
#include <kj/thread.h>

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <set>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace shm {
namespace {

constexpr uint64_t KIB = 1024;
constexpr uint64_t MIB = 1024 * KIB;

class ArenaSetTest : public testing::Test {
public:
  ~ArenaSetTest() noexcept override {}  // KJ's destructors may throw, GoogleTest's may not.

protected:
  // Arenas of 64 KiB and more, a quota of 1 MiB, 256 KiB kept warm.
  static ArenaSetOptions small() {
    return {.quota = MIB, .firstCapacity = 64 * KIB, .warmBytes = 256 * KIB};
  }

  kj::Own<const ArenaSet> make(ArenaSetOptions options = small()) {
    return ArenaSet::create(*memory, kj::atomicAddRef(*retired), options);
  }

  static Region lent(kj::OneOf<Region, Refusal> answer) {
    if (answer.is<Refusal>()) ADD_FAILURE() << answer.get<Refusal>().message.cStr();
    return kj::mv(answer.get<Region>());
  }

  static Refusal refused(kj::OneOf<Region, Refusal> answer) {
    EXPECT_TRUE(answer.is<Refusal>());
    return kj::mv(answer.get<Refusal>());
  }

  kj::Own<const MemoryBudget> memory = MemoryBudget::create("--shared-memory-limit", 4 * MIB);
  kj::Own<const RetiredArenas> retired = kj::atomicRefcounted<RetiredArenas>();
};

// Catches an idle session that costs memory.
TEST_F(ArenaSetTest, CostsNothingBeforeTheFirstRegion) {
  auto set = make();
  EXPECT_EQ(memory->used(), 0u);
  EXPECT_TRUE(set->tryLend(1) == nullptr);
  EXPECT_EQ(memory->used(), 0u);
}

// Catches a region that the peer cannot read in full: pages not committed, wrong offset.
TEST_F(ArenaSetTest, LendsBytesThatThePeerReadsAtTheSameOffset) {
  auto set = make();
  auto first = lent(set->lend(100));
  auto second = lent(set->lend(5000));
  memset(first.bytes().begin(), 'a', 100);
  memset(second.bytes().begin(), 'b', 5000);
  EXPECT_EQ(first.arenaId(), second.arenaId());

  auto arena = KJ_ASSERT_NONNULL(set->find(first.arenaId()));
  auto peer = arena->openReadOnly();
  struct stat stats;
  ASSERT_EQ(fstat(peer, &stats), 0);
  EXPECT_EQ(stats.st_blocks * 512, 64 * KIB);
  for (auto region : {&first, &second}) {
    auto read = kj::heapArray<kj::byte>(region->span().length);
    ASSERT_EQ(pread(peer, read.begin(), read.size(), region->span().offset), read.size());
    EXPECT_EQ(memcmp(read.begin(), region->bytes().begin(), read.size()), 0);
  }
}

// Catches regions that share a byte, and a span that stays lent after its region is gone.
TEST_F(ArenaSetTest, LendsAByteOnceAtATime) {
  auto set = make();
  uint32_t id;
  {
    kj::Vector<Region> regions;
    std::set<uint64_t> starts;
    for (unsigned i = 0; i < 64; ++i) {
      regions.add(lent(set->lend(1000)));
      EXPECT_TRUE(starts.insert(regions.back().span().offset).second);
    }
    id = regions[0].arenaId();
    auto use = set->use();
    EXPECT_EQ(use.regions, 64u);
    EXPECT_EQ(use.lent, 64 * 1000u);
    ASSERT_EQ(use.arenas.size(), 1u);
    EXPECT_EQ(use.arenas[0].lent, 64 * KIB);

    Region moved(kj::mv(regions[0]));
    EXPECT_EQ(set->use().regions, 64u);
  }
  auto use = set->use();
  EXPECT_EQ(use.regions, 0u);
  EXPECT_EQ(use.lent, 0u);
  EXPECT_EQ(use.arenas[0].lent, 0u);
  EXPECT_EQ(lent(set->lend(16 * KIB)).arenaId(), id);  // Warm: the same arena again.
}

// Catches an arena that is closed too early (while a region lives), or never.
TEST_F(ArenaSetTest, DoublesWhenFullAndClosesWhatWasOutgrown) {
  auto set = make();
  kj::Vector<Region> regions;
  for (unsigned i = 0; i < 4; ++i) regions.add(lent(set->lend(16 * KIB)));
  EXPECT_EQ(memory->used(), 64 * KIB);
  EXPECT_TRUE(set->tryLend(16 * KIB) == nullptr);

  regions.add(lent(set->lend(16 * KIB)));
  const uint32_t first = regions[0].arenaId(), second = regions[4].arenaId();
  EXPECT_NE(first, second);
  EXPECT_EQ(memory->used(), (64 + 128) * KIB);
  EXPECT_EQ(KJ_ASSERT_NONNULL(set->find(second))->capacity(), 128 * KIB);

  regions[0].bytes()[0] = 1;  // Still mapped.
  auto last = kj::mv(regions[0]);
  regions = {};
  EXPECT_TRUE(set->find(first) != nullptr);
  { Region drop(kj::mv(last)); }
  EXPECT_TRUE(set->find(first) == nullptr);
  EXPECT_EQ(memory->used(), 128 * KIB);
}

// Catches large payloads that blow up the shared arena, and their memory staying for ever.
TEST_F(ArenaSetTest, GivesALargePayloadAnArenaOfItsOwn) {
  auto set = make({.quota = MIB, .firstCapacity = 64 * KIB, .warmBytes = 0});
  auto small = lent(set->lend(16 * KIB));
  uint32_t id;
  {
    auto large = lent(set->lend(16 * KIB + 1));
    id = large.arenaId();
    EXPECT_NE(id, small.arenaId());
    EXPECT_EQ(large.span().offset, 0u);
    EXPECT_EQ(memory->used(), (64 + 20) * KIB);  // Whole pages.
  }
  EXPECT_TRUE(set->find(id) == nullptr);
  EXPECT_EQ(memory->used(), 64 * KIB);
  // Never the same id again: the peer may still have the old one mapped.
  EXPECT_GT(lent(set->lend(17 * KIB)).arenaId(), id);
  EXPECT_GT(set->takeId(), id + 1);
}

// Catches a warm arena that is not used again, and more kept warm than allowed.
TEST_F(ArenaSetTest, KeepsArenasOfLargePayloadsWarmUpToALimit) {
  auto set = make();
  uint32_t id;
  {
    auto one = lent(set->lend(200 * KIB));
    auto two = lent(set->lend(200 * KIB));
    id = two.arenaId();
  }
  EXPECT_EQ(memory->used(), 200 * KIB);  // The other is over the 256 KiB.
  {
    auto again = KJ_ASSERT_NONNULL(set->tryLend(150 * KIB));
    EXPECT_EQ(again.arenaId(), id);
    EXPECT_TRUE(set->tryLend(150 * KIB) == nullptr);  // One payload at a time.
  }
  EXPECT_TRUE(set->tryLend(49 * KIB) == nullptr);  // Too small for so much memory.
  set->trim();
  EXPECT_EQ(memory->used(), 0u);
}

// Catches a refusal without figures, and a refusal while unused arenas hold the memory.
TEST_F(ArenaSetTest, RefusesWithFiguresWhenTheQuotaIsUsed) {
  auto set = make();
  { auto warm = lent(set->lend(200 * KIB)); }
  {
    auto whole = lent(set->lend(MIB));  // The warm one had to go.
    EXPECT_EQ(memory->used(), MIB);
    auto no = refused(set->lend(1));
    EXPECT_EQ(no.cause, Refusal::Cause::MEMORY);
    EXPECT_EQ(no.limit, "--arena-size");
    EXPECT_EQ(no.free, 0u);
    EXPECT_EQ(no.message, "needs 65536 bytes, 0 of 1048576 free (--arena-size)");
  }
  auto no = refused(set->lend(MIB + 1));
  EXPECT_EQ(no.needed, MIB + 1);
  EXPECT_EQ(refused(set->lend(uint64_t(0) - 1)).needed, uint64_t(0) - 1);
  EXPECT_THROW(set->lend(0), kj::Exception);
}

// Catches a session that takes what others may need, and the wrong limit in the error.
TEST_F(ArenaSetTest, StaysWithinTheLimitOverAllSessions) {
  auto tight = MemoryBudget::create("--shared-memory-limit", 100 * KIB);
  auto one = ArenaSet::create(*tight, kj::atomicAddRef(*retired), small());
  auto two = ArenaSet::create(*tight, kj::atomicAddRef(*retired), small());
  auto held = lent(one->lend(1));
  auto no = refused(two->lend(1));
  EXPECT_EQ(no.limit, "--shared-memory-limit");
  EXPECT_EQ(no.free, 36 * KIB);
  // Larger ones of the same session still find what is there, without an arena twice as large.
  for (unsigned i = 0; i < 3; ++i) {
    auto more = lent(one->lend(16 * KIB));
    EXPECT_EQ(more.arenaId(), held.arenaId());
  }
  EXPECT_LE(tight->used(), 100 * KIB);
}

// Fills the quota to the last byte with small regions. Catches memory that cannot be reached.
TEST_F(ArenaSetTest, LendsTheWholeQuotaInSmallRegions) {
  auto set = make();
  kj::Vector<Region> regions;
  for (;;) {
    auto answer = set->lend(4 * KIB);
    if (answer.is<Refusal>()) break;
    regions.add(kj::mv(answer.get<Region>()));
    ASSERT_LE(regions.size(), 256u);
  }
  EXPECT_EQ(regions.size(), 256u);
  EXPECT_EQ(memory->used(), MIB);
  regions = {};
  EXPECT_EQ(set->use().arenas.size(), 1u);  // The shared one, warm.
  set->trim();
  EXPECT_EQ(memory->used(), 0u);
}

TEST_F(ArenaSetTest, BoundsTheNumberOfRegionsAndArenas) {
  auto options = small();
  options.maxRegions = 3;
  options.maxArenas = 2;
  auto set = make(options);
  auto one = lent(set->lend(1));
  {
    auto two = lent(set->lend(32 * KIB));
    EXPECT_EQ(refused(set->lend(64 * KIB)).limit, "arenas");
    auto three = lent(set->lend(1));
    EXPECT_TRUE(set->tryLend(1) == nullptr);
    auto no = refused(set->lend(1));
    EXPECT_EQ(no.cause, Refusal::Cause::COUNT);
    EXPECT_EQ(no.limit, "regions");
  }
  lent(set->lend(1));
}

// Catches a session that is refused for ever because arenas that nobody uses, of large payloads or
// the one for small ones, have taken all places.
TEST_F(ArenaSetTest, ClosesUnusedArenasWhenThereAreTooMany) {
  auto options = small();
  options.maxArenas = 3;
  auto set = make(options);
  {
    kj::Vector<Region> regions;
    for (unsigned i = 0; i < 3; ++i) regions.add(lent(set->lend(20 * KIB)));
    EXPECT_EQ(refused(set->lend(100 * KIB)).limit, "arenas");
  }
  EXPECT_EQ(set->use().arenas.size(), 3u);
  { auto large = lent(set->lend(100 * KIB)); }

  options.maxArenas = 1;
  set = make(options);
  { auto small = lent(set->lend(1)); }
  auto large = lent(set->lend(20 * KIB));
  EXPECT_EQ(set->use().arenas.size(), 1u);
}

// Catches a worker that writes into a region of a session that is gone: SIGSEGV, or memory that is
// given back while it is written.
TEST_F(ArenaSetTest, RegionsOutliveTheirSession) {
  auto set = make();
  auto region = lent(set->lend(100));
  auto large = lent(set->lend(40 * KIB));
  set->close();
  set->close();
  EXPECT_EQ(refused(set->lend(1)).cause, Refusal::Cause::CLOSED);
  EXPECT_TRUE(set->tryLend(1) == nullptr);
  EXPECT_TRUE(set->find(region.arenaId()) == nullptr);
  EXPECT_EQ(set->use().regions, 2u);
  EXPECT_EQ(memory->used(), (64 + 40) * KIB);
  set = nullptr;

  memset(region.bytes().begin(), 1, 100);
  memset(large.bytes().begin(), 1, 40 * KIB);
  { Region drop(kj::mv(region)); }
  EXPECT_EQ(memory->used(), 40 * KIB);
  { Region drop(kj::mv(large)); }
  EXPECT_EQ(memory->used(), 0u);
}

// Maps an arena as a peer does; unmaps at the end.
class Peer {
public:
  explicit Peer(const Arena& arena) : size(arena.capacity()) {
    auto fd = arena.openReadOnly();
    start = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    KJ_REQUIRE(start != MAP_FAILED);
  }
  ~Peer() { munmap(start, size); }
  KJ_DISALLOW_COPY(Peer);

private:
  uint64_t size;
  void* start;
};

// Catches an arena that is closed for nothing: the memory would stay, and with it the quota used.
TEST_F(ArenaSetTest, LendsAgainWhatThePeerStillHasOpen) {
  auto set = make({.quota = MIB, .firstCapacity = 64 * KIB, .warmBytes = 0});
  {
    kj::Own<Peer> peer;
    uint32_t id;
    {
      auto region = lent(set->lend(MIB));
      id = region.arenaId();
      peer = kj::heap<Peer>(*KJ_ASSERT_NONNULL(set->find(id)));
    }
    EXPECT_EQ(KJ_ASSERT_NONNULL(set->tryLend(MIB)).arenaId(), id);
    set->trim();
    EXPECT_EQ(lent(set->lend(1)).arenaId(), id);  // Small, but there is nothing else.
    set->sweep();
    EXPECT_EQ(memory->used(), MIB);
  }
  set->sweep();
  EXPECT_EQ(memory->used(), 0u);
}

// Lets the kernel refuse, to this thread and for ever, the call by which an arena asks whether the
// peer has it open. False where the kernel does not offer that.
bool refuseLeases() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fcntl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),  // Little-endian.
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_SETSIG, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{kj::size(filter), filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

// Catches a region that is dropped under the lock which its destructor takes: the thread would wait
// for itself for ever, and with it every other one of the session.
TEST_F(ArenaSetTest, StaysUsableWhenClosingUnusedArenasFails) {
  auto set = make({.quota = MIB, .firstCapacity = 64 * KIB, .warmBytes = 0});
  kj::Own<Peer> peer;
  {
    auto region = lent(set->lend(100 * KIB));
    peer = kj::heap<Peer>(*KJ_ASSERT_NONNULL(set->find(region.arenaId())));
  }
  bool refuses = false;
  kj::Maybe<kj::Exception> failure;
  kj::heap<kj::Thread>([&] {
    refuses = refuseLeases();
    if (refuses) failure = kj::runCatchingExceptions([&] { (void)set->lend(1); });
  });
  if (!refuses) GTEST_SKIP() << "skipped, because this kernel or sandbox allows no seccomp filter";
  EXPECT_TRUE(failure != nullptr);
  EXPECT_EQ(set->use().regions, 0u);
  auto region = lent(set->lend(1));
  EXPECT_EQ(region.bytes().size(), 1u);
}

// The same for a shared arena: outgrown or trimmed while the peer has it open.
TEST_F(ArenaSetTest, LendsAgainAnOutgrownArenaThatThePeerStillHasOpen) {
  auto set = make({.quota = MIB, .firstCapacity = 64 * KIB, .warmBytes = 0});
  const uint32_t id = lent(set->lend(1)).arenaId();
  auto peer = kj::heap<Peer>(*KJ_ASSERT_NONNULL(set->find(id)));
  set->trim();
  EXPECT_EQ(lent(set->lend(64 * KIB)).arenaId(), id);
  EXPECT_EQ(memory->used(), 64 * KIB);
  peer = nullptr;
  set->trim();
  EXPECT_EQ(memory->used(), 0u);
}

// Catches memory that a hoarding peer keeps and that nobody counts: its next session would get the
// same again, until the machine is full.
TEST_F(ArenaSetTest, CountsArenasAfterTheSessionUntilThePeerLetsGo) {
  auto set = make();
  kj::Own<Peer> peer;
  {
    auto region = lent(set->lend(MIB));
    peer = kj::heap<Peer>(*KJ_ASSERT_NONNULL(set->find(region.arenaId())));
  }
  set->close();
  EXPECT_EQ(set->use().arenas.size(), 0u);
  set = nullptr;
  EXPECT_EQ(retired->bytes(), MIB);
  EXPECT_EQ(memory->used(), MIB);
  EXPECT_EQ(retired->collect(), MIB);

  peer = nullptr;
  EXPECT_EQ(retired->collect(), 0u);
  EXPECT_EQ(retired->bytes(), 0u);
  EXPECT_EQ(memory->used(), 0u);
}

// Catches races between lending, growing, dropping and closing: a byte lent twice, a leak, a crash.
TEST_F(ArenaSetTest, ServesManyThreadsWhileItIsClosed) {
  auto set = make();
  std::atomic<unsigned> mixed{0}, granted{0};
  {
    kj::Vector<kj::Own<kj::Thread>> threads;
    for (unsigned number = 1; number <= 4; ++number) {
      threads.add(kj::heap<kj::Thread>([&, number] {
        for (unsigned round = 0; round < 3000; ++round) {
          auto answer = set->lend(1 + (round * 7919 + number) % (round % 16 == 0 ? 90000 : 9000));
          KJ_IF_MAYBE (region, answer.tryGet<Region>()) {
            ++granted;
            auto bytes = region->bytes();
            memset(bytes.begin(), number, bytes.size());
            for (auto b : bytes) {
              if (b != number) ++mixed;
            }
          }
          if (number == 1 && round == 2900) set->close();
          if (number == 2 && round % 100 == 0) set->trim();
        }
      }));
    }
  }
  EXPECT_EQ(mixed, 0u);
  EXPECT_GT(granted, 3000u);
  EXPECT_EQ(set->use().regions, 0u);
  EXPECT_EQ(set->use().lent, 0u);
  EXPECT_EQ(memory->used(), 0u);
}

}  // namespace
}  // namespace shm
