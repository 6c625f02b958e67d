// SPDX-License-Identifier: Apache-2.0
#include "shm/peer-arena.h"

#include "shm/arena-set.h"

#include <kj/debug.h>
#include <kj/thread.h>

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shm {
namespace {

using Cause = PeerFault::Cause;
constexpr uint64_t PAGE = 4096;

kj::AutoCloseFd own(int fd) {
  KJ_SYSCALL(fd, "making a test's descriptor");
  return kj::AutoCloseFd(fd);
}

kj::AutoCloseFd makeMemfd(uint64_t size, int seals) {
  auto fd = own(memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  KJ_SYSCALL(ftruncate(fd, size));
  KJ_SYSCALL(fcntl(fd, F_ADD_SEALS, seals));
  return fd;
}

kj::Own<const PeerArena> accepted(kj::AutoCloseFd fd) {
  auto answer = PeerArena::accept(kj::mv(fd));
  if (answer.is<PeerFault>()) ADD_FAILURE() << answer.get<PeerFault>().message.cStr();
  return kj::mv(answer.get<kj::Own<const PeerArena>>());
}

// The cause, and a part of the message that the peer's author needs.
void expectRefused(kj::AutoCloseFd fd, Cause cause, const char* message) {
  SCOPED_TRACE(message);
  auto answer = PeerArena::accept(kj::mv(fd));
  ASSERT_TRUE(answer.is<PeerFault>());
  EXPECT_EQ(answer.get<PeerFault>().cause, cause);
  EXPECT_NE(std::string(answer.get<PeerFault>().message.cStr()).find(message), std::string::npos)
      << answer.get<PeerFault>().message.cStr();
}

uint64_t committed(int fd) {
  struct stat stats;
  KJ_SYSCALL(fstat(fd, &stats));
  return stats.st_blocks * 512;
}

// A request's whole way with our own client's arenas. Catches seals that do not fit together.
TEST(PeerArena, ReadsWhatAnArenaSetWrote) {
  auto budget = MemoryBudget::create("client", 1 << 20);
  auto set = ArenaSet::create(*budget, kj::atomicRefcounted<RetiredArenas>(),
                              {.quota = 1 << 20, .firstCapacity = 16 * PAGE, .warmBytes = 0});
  auto answer = set->lend(5000);
  auto& region = answer.get<Region>();
  for (size_t i = 0; i < 5000; ++i) region.bytes()[i] = i % 251;

  auto peer = accepted(KJ_ASSERT_NONNULL(set->find(region.arenaId()))->openReadOnly());
  EXPECT_EQ(peer->size(), 16 * PAGE);
  auto copy = kj::heapArray<kj::byte>(5000);
  ASSERT_TRUE(peer->read(region.span().offset, copy) == nullptr);
  EXPECT_EQ(memcmp(copy.begin(), region.bytes().begin(), 5000), 0);
}

// Catches offset + length that wraps around, and an off-by-one at the end.
TEST(PeerArena, ChecksTheBoundsOfEveryRead) {
  constexpr uint64_t MOST = std::numeric_limits<uint64_t>::max();
  auto arena = accepted(makeMemfd(PAGE + 10, F_SEAL_SHRINK));
  auto room = kj::heapArray<kj::byte>(2 * PAGE);
  struct {
    uint64_t offset, length;
    bool good;
  } cases[] = {{0, PAGE + 10, true},
               {PAGE + 10, 0, true},
               {PAGE + 9, 1, true},
               {0, PAGE + 11, false},
               {PAGE + 10, 1, false},
               {PAGE + 11, 0, false},
               {MOST, 1, false},
               {MOST, 0, false},
               {MOST - PAGE + 1, PAGE, false},
               {uint64_t(1) << 63, 1, false}};
  for (auto& range : cases) {
    SCOPED_TRACE(testing::Message() << range.offset << " " << range.length);
    auto fault = arena->read(range.offset, room.slice(0, range.length));
    EXPECT_EQ(fault == nullptr, range.good);
    KJ_IF_MAYBE (f, fault) {
      EXPECT_EQ(f->cause, Cause::OUT_OF_BOUNDS);
    }
  }
}

TEST(PeerArena, RefusesAMemfdThatCouldShrink) {
  expectRefused(makeMemfd(PAGE, 0), Cause::NOT_SEALED, "it needs 0x2");
  expectRefused(makeMemfd(PAGE, F_SEAL_GROW), Cause::NOT_SEALED, "has seals 0x4");
  expectRefused(own(memfd_create("peer", MFD_CLOEXEC)), Cause::NOT_SEALED, "has seals 0x1");
}

// Catches a size that is remembered from before the memfd was cut.
TEST(PeerArena, ReadsNothingOfWhatWasCutBeforeItWasSealed) {
  auto fd = makeMemfd(4 * PAGE, 0);
  ASSERT_EQ(ftruncate(fd, PAGE), 0);
  ASSERT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  auto arena = accepted(kj::mv(fd));
  EXPECT_EQ(arena->size(), PAGE);
  kj::byte room[2];
  EXPECT_TRUE(arena->read(PAGE - 1, kj::arrayPtr(room, 2)) != nullptr);

  EXPECT_EQ(accepted(makeMemfd(0, F_SEAL_SHRINK))->size(), 0u);  // Empty: harmless.
}

// Catches a copy that commits the peer's holes on our account, or returns stale bytes for them.
TEST(PeerArena, ReadsHolesAsZerosAndCommitsNothing) {
  auto fd = makeMemfd(uint64_t(1) << 50, F_SEAL_SHRINK);
  auto other = own(dup(fd));
  auto arena = accepted(kj::mv(fd));
  auto copy = kj::heapArray<kj::byte>(1 << 20);
  memset(copy.begin(), 0xff, copy.size());
  ASSERT_TRUE(arena->read((uint64_t(1) << 50) - copy.size(), copy) == nullptr);
  for (auto b : copy) ASSERT_EQ(b, 0);
  EXPECT_EQ(committed(other), 0u);
}

// Catches a crash or a short copy when pages vanish, change and grow while they are copied.
TEST(PeerArena, CopiesInFullWhilePagesArePunchedAndRewritten) {
  constexpr uint64_t SIZE = 256 << 10;
  auto fd = makeMemfd(SIZE, F_SEAL_SHRINK);
  auto hostile = own(dup(fd));
  auto arena = accepted(kj::mv(fd));
  std::atomic<bool> done{false};
  std::atomic<uint64_t> punched{0};
  kj::Thread puncher([&] {
    auto filling = kj::heapArray<kj::byte>(SIZE);
    memset(filling.begin(), 0xab, SIZE);
    while (!done) {
      KJ_SYSCALL(pwrite(hostile, filling.begin(), SIZE, 0));
      KJ_SYSCALL(fallocate(hostile, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE));
      KJ_SYSCALL(ftruncate(hostile, SIZE + ++punched * PAGE));
    }
  });
  KJ_DEFER(done = true);
  auto copy = kj::heapArray<kj::byte>(SIZE);
  for (unsigned round = 0; round < 100 || punched < 20; ++round) {
    memset(copy.begin(), 0x11, SIZE);
    ASSERT_TRUE(arena->read(0, copy) == nullptr);
    for (auto b : copy) {
      if (b != 0 && b != 0xab) FAIL() << "byte " << int(b) << " was not copied, round " << round;
    }
  }
  EXPECT_EQ(arena->size(), SIZE);
}

// Catches reads through an offset or flags that the peer shares with us.
TEST(PeerArena, IsNotMovedByThePeersSeekOrFlags) {
  auto fd = makeMemfd(2 * PAGE, F_SEAL_SHRINK);
  auto shared = own(dup(fd));
  ASSERT_EQ(pwrite(shared, "abc", 3, 0), 3);
  auto arena = accepted(kj::mv(fd));
  ASSERT_EQ(lseek(shared, 5000, SEEK_SET), 5000);
  ASSERT_EQ(fcntl(shared, F_SETFL, O_APPEND | O_NONBLOCK), 0);
  kj::byte room[3];
  ASSERT_TRUE(arena->read(0, kj::arrayPtr(room, 3)) == nullptr);
  EXPECT_EQ(memcmp(room, "abc", 3), 0);
}

// Reading may block on huge pages, and holes of theirs are committed: refused, by the file system
// they are on. The machine needs no huge pages for this.
TEST(PeerArena, RefusesHugePages) {
  int fd = memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
  if (fd < 0) GTEST_SKIP() << "skipped, because this kernel makes no hugetlb memfd: " << errno;
  kj::AutoCloseFd huge(fd);
  ASSERT_EQ(fcntl(huge, F_ADD_SEALS, F_SEAL_SHRINK), 0);
  expectRefused(kj::mv(huge), Cause::NOT_MEMFD, "huge pages");
}

// Catches a worker that blocks for ever in a read of something that is not memory.
TEST(PeerArena, RefusesWhatIsNotAMemfd) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  expectRefused(own(ends[0]), Cause::NOT_A_FILE, "a pipe");
  expectRefused(own(ends[1]), Cause::NOT_READABLE, "not open for reading");

  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  expectRefused(own(ends[0]), Cause::NOT_A_FILE, "a socket");
  kj::AutoCloseFd otherEnd(ends[1]);

  expectRefused(own(open("/", O_RDONLY | O_DIRECTORY)), Cause::NOT_A_FILE, "a directory");
  expectRefused(own(open("/dev/zero", O_RDWR)), Cause::NOT_A_FILE, "a character device");
  expectRefused(own(open("/", O_PATH)), Cause::NOT_READABLE, "not open for reading");
  expectRefused(own(open("/proc/self/maps", O_RDONLY)), Cause::NOT_MEMFD, "a file, not a memfd");
}

TEST(PeerArena, RefusesRegularFiles) {
  char path[] = "/tmp/peer-arena-test-XXXXXX";
  auto file = own(mkstemp(path));
  KJ_DEFER(unlink(path));
  // Where /tmp is a tmpfs the file looks like a memfd, but it cannot be sealed.
  auto answer = PeerArena::accept(kj::mv(file));
  ASSERT_TRUE(answer.is<PeerFault>());
  const Cause cause = answer.get<PeerFault>().cause;
  EXPECT_TRUE(cause == Cause::NOT_MEMFD || cause == Cause::NOT_SEALED);

  kj::AutoCloseFd writable = makeMemfd(PAGE, F_SEAL_SHRINK);
  auto link = kj::str("/proc/self/fd/", writable.get());
  expectRefused(own(open(link.cStr(), O_WRONLY)), Cause::NOT_READABLE, "not open for reading");
}

TEST(PeerArena, RefusesFilesOfATmpfsThatHasAName) {
  char path[] = "/dev/shm/peer-arena-test-XXXXXX";
  int fd = mkstemp(path);
  if (fd < 0) GTEST_SKIP() << "skipped, because /dev/shm cannot be written";
  kj::AutoCloseFd file(fd);
  unlink(path);
  expectRefused(kj::mv(file), Cause::NOT_SEALED, "has seals");
}

}  // namespace
}  // namespace shm
