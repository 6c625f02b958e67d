// SPDX-License-Identifier: Apache-2.0
#include "shm/mapped-arena.h"

#include "shm/arena-set.h"
#include "shm/memfd.h"

#include <kj/debug.h>

#include <gtest/gtest.h>

#include <limits>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace shm {
namespace {

const uint64_t PAGE = pageSize();

kj::Own<const MappedArena> mapped(kj::OneOf<kj::Own<const MappedArena>, PeerFault> answer) {
  if (answer.is<PeerFault>()) ADD_FAILURE() << answer.get<PeerFault>().message.cStr();
  return kj::mv(answer.get<kj::Own<const MappedArena>>());
}

PeerFault::Cause refusal(kj::OneOf<kj::Own<const MappedArena>, PeerFault> answer) {
  EXPECT_TRUE(answer.is<PeerFault>());
  return answer.get<PeerFault>().cause;
}

// The whole way of a reply. Catches a view at the wrong place, and a view that dangles when the
// MappedArena, the arena and the session are gone.
TEST(MappedArena, ShowsWhatTheOwnerWroteForAsLongAsAViewLives) {
  auto budget = MemoryBudget::create("--memory-limit", 1 << 20);
  auto set = ArenaSet::create(*budget, kj::atomicRefcounted<RetiredArenas>(),
                              {.quota = 1 << 20, .firstCapacity = 16 * PAGE, .warmBytes = 0});
  kj::Array<const kj::byte> view;
  {
    auto answer = set->lend(3000);
    auto before = kj::mv(answer.get<Region>());
    auto second = set->lend(3000);
    auto region = kj::mv(second.get<Region>());
    memset(region.bytes().begin(), 'x', 3000);
    auto arena = KJ_ASSERT_NONNULL(set->find(region.arenaId()));
    auto mapping = mapped(MappedArena::map(arena->openReadOnly(), arena->capacity()));
    mapping->populate(region.span().offset, 3000);
    auto seen = mapping->view(region.span().offset, 3000);
    view = kj::mv(seen.get<kj::Array<const kj::byte>>());
  }
  set = nullptr;
  EXPECT_EQ(std::string(view.begin(), view.end()), std::string(3000, 'x'));
}

// Catches a mapping that never goes away: the owner would count its pages for ever.
TEST(MappedArena, LetsGoOfThePagesWithItsLastView) {
  auto memfd = Memfd::create("test", PAGE);
  memfd->commit(0, PAGE, Memfd::Warm::YES);
  auto arena = mapped(MappedArena::map(memfd->openReadOnly(), PAGE));
  auto view = arena->view(0, 1);
  arena = nullptr;
  EXPECT_TRUE(memfd->isOpenElsewhere());
  view = PeerFault{};
  EXPECT_FALSE(memfd->isOpenElsewhere());
}

// Catches offset + length that wraps around, and an off-by-one at the end.
TEST(MappedArena, ChecksTheBoundsOfEveryView) {
  constexpr uint64_t MOST = std::numeric_limits<uint64_t>::max();
  auto memfd = Memfd::create("test", 2 * PAGE);
  memfd->commit(0, 2 * PAGE, Memfd::Warm::YES);
  auto arena = mapped(MappedArena::map(memfd->openReadOnly(), PAGE + 10));
  EXPECT_EQ(arena->size(), PAGE + 10);
  struct {
    uint64_t offset, length;
    bool good;
  } cases[] = {{0, PAGE + 10, true},  {PAGE + 10, 0, true},  {PAGE + 9, 1, true},
               {0, 0, true},          {0, PAGE + 11, false}, {PAGE + 10, 1, false},
               {PAGE + 11, 0, false}, {1, MOST, false},      {MOST, 1, false},
               {MOST, MOST, false},   {MOST - 1, 2, false},  {PAGE, MOST - PAGE + 1, false}};
  for (auto& range : cases) {
    SCOPED_TRACE(testing::Message() << range.offset << " " << range.length);
    EXPECT_EQ((arena->peek(range.offset, range.length).is<kj::ArrayPtr<const kj::byte>>()),
              range.good);
    auto view = arena->view(range.offset, range.length);
    ASSERT_EQ((view.is<kj::Array<const kj::byte>>()), range.good);
    if (range.good) {
      EXPECT_EQ(view.get<kj::Array<const kj::byte>>().size(), range.length);
      arena->populate(range.offset, range.length);
    } else {
      EXPECT_EQ(view.get<PeerFault>().cause, PeerFault::Cause::OUT_OF_BOUNDS);
      EXPECT_THROW(arena->populate(range.offset, range.length), kj::Exception);
    }
  }
}

// Catches trust in what the other side says: each of these would end in SIGBUS sooner or later.
TEST(MappedArena, RefusesWhatCouldFaultLater) {
  auto memfd = Memfd::create("test", PAGE);
  EXPECT_EQ(refusal(MappedArena::map(memfd->openReadOnly(), PAGE + 1)),
            PeerFault::Cause::OUT_OF_BOUNDS);
  EXPECT_EQ(refusal(MappedArena::map(memfd->openReadOnly(), 0)), PeerFault::Cause::OUT_OF_BOUNDS);

  kj::AutoCloseFd unsealed(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed, PAGE), 0);
  EXPECT_EQ(refusal(MappedArena::map(kj::mv(unsealed), PAGE)), PeerFault::Cause::NOT_SEALED);

  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  kj::AutoCloseFd in(ends[0]), out(ends[1]);
  EXPECT_EQ(refusal(MappedArena::map(kj::mv(in), PAGE)), PeerFault::Cause::NOT_A_FILE);
}

// Catches a crash of a client whose address space is limited: it has to fall back to inline.
TEST(MappedArena, SaysSoWhenNoAddressSpaceIsLeft) {
  constexpr uint64_t HUGE_SIZE = uint64_t(1) << 58;  // More than x86-64 gives a process.
  kj::AutoCloseFd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(fd, HUGE_SIZE), 0);  // Sparse: costs nothing.
  ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_EQ(refusal(MappedArena::map(kj::mv(fd), HUGE_SIZE)), PeerFault::Cause::NOT_MAPPABLE);
}

}  // namespace
}  // namespace shm
