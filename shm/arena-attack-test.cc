// SPDX-License-Identifier: Apache-2.0
// Everything that a hostile peer can try on an arena or store segment that it holds: the descriptor
// it was given, every way to a better one, as the same user and as another. The memory is checked
// after each attempt: what matters is the effect.
#include "shm/memfd.h"

#include <kj/debug.h>

#include <gtest/gtest.h>

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shm {
namespace {

const uint64_t PAGE = pageSize();
const uint64_t SIZE = 4 * PAGE;
constexpr uid_t OTHER_UID = 65534;

// 0 for success.
template <typename Result>
int errorOf(Result result) {
  return result == Result(-1) ? errno : 0;
}

int errorOfMap(int fd, int protection, int flags) {
  void* start = mmap(nullptr, SIZE, protection, flags, fd, 0);
  if (start == MAP_FAILED) return errno;
  munmap(start, SIZE);
  return 0;
}

class ArenaAttack : public testing::Test {
public:
  ~ArenaAttack() noexcept override {}  // KJ's destructors may throw, GoogleTest's may not.

protected:
  ArenaAttack() {
    memfd->commit(0, SIZE, Memfd::Warm::YES);
    memset(memfd->bytes().begin(), 'a', SIZE);
  }

  // Still as long, still committed, still the same bytes.
  void expectUnharmed() {
    struct stat stats;
    ASSERT_EQ(fstat(received, &stats), 0);
    EXPECT_EQ(stats.st_size, SIZE);
    EXPECT_EQ(stats.st_blocks * 512, SIZE);
    for (auto b : memfd->bytes()) ASSERT_EQ(b, 'a');
    memfd->bytes()[0] = 'a';  // And its owner can still write.
  }

  void attackSize(int fd, int truncateError, int allocateError) {
    EXPECT_EQ(errorOf(ftruncate(fd, PAGE)), truncateError);
    expectUnharmed();
    EXPECT_EQ(errorOf(ftruncate(fd, 0)), truncateError);
    expectUnharmed();
    EXPECT_EQ(errorOf(ftruncate(fd, 2 * SIZE)), truncateError);
    expectUnharmed();
    EXPECT_EQ(errorOf(fallocate(fd, 0, SIZE, PAGE)), allocateError);
    EXPECT_EQ(errorOf(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE)),
              allocateError);
    EXPECT_NE(errorOf(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, PAGE)), 0);
    EXPECT_NE(errorOf(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, PAGE)), 0);
    expectUnharmed();
  }

  kj::Own<Memfd> memfd = Memfd::create("test", SIZE);
  kj::AutoCloseFd received = memfd->openReadOnly();
};

TEST_F(ArenaAttack, TheDescriptorCannotBeWritten) {
  EXPECT_EQ(errorOfMap(received, PROT_READ, MAP_SHARED), 0);
  EXPECT_EQ(errorOfMap(received, PROT_READ | PROT_WRITE, MAP_SHARED), EACCES);
  EXPECT_EQ(errorOfMap(received, PROT_WRITE, MAP_SHARED), EACCES);
  EXPECT_EQ(errorOfMap(received, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE), EACCES);
  EXPECT_EQ(errorOf(pwrite(received, "x", 1, 0)), EBADF);
  EXPECT_EQ(errorOf(write(received, "x", 1)), EBADF);
  expectUnharmed();
}

TEST_F(ArenaAttack, AReadOnlyMappingStaysReadOnly) {
  void* start = mmap(nullptr, SIZE, PROT_READ, MAP_SHARED, received, 0);
  ASSERT_NE(start, MAP_FAILED);
  EXPECT_EQ(errorOf(mprotect(start, SIZE, PROT_READ | PROT_WRITE)), EACCES);
  EXPECT_NE(errorOf(madvise(start, PAGE, MADV_REMOVE)), 0);
  EXPECT_NE(errorOf(madvise(start, PAGE, MADV_POPULATE_WRITE)), 0);
  EXPECT_EQ(errorOf(madvise(start, PAGE, MADV_DONTNEED)), 0);  // Only its own page tables.
  EXPECT_EQ(*static_cast<const char*>(start), 'a');
  munmap(start, SIZE);
  expectUnharmed();
}

TEST_F(ArenaAttack, APrivateMappingIsTheClientsOwn) {
  void* start = mmap(nullptr, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, received, 0);
  ASSERT_NE(start, MAP_FAILED);
  memset(start, 'z', SIZE);
  munmap(start, SIZE);
  expectUnharmed();
}

TEST_F(ArenaAttack, TheSizeCannotBeChanged) {
  attackSize(received, EINVAL, EBADF);
}

TEST_F(ArenaAttack, NoSealCanBeAdded) {
  for (int seal : {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL}) {
    EXPECT_EQ(errorOf(fcntl(received, F_ADD_SEALS, seal)), EPERM) << seal;
  }
  const int all = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  EXPECT_EQ(fcntl(received, F_GET_SEALS) & all, all);
  EXPECT_EQ(fcntl(received, F_GET_SEALS) & F_SEAL_WRITE, 0);
}

// The same user, or root, may reopen it for writing: the file's mode does not stop them. The seals
// must.
TEST_F(ArenaAttack, AWritableReopeningIsOfNoUse) {
  ASSERT_EQ(fchmod(received, 0600), 0);  // An owner may.
  auto path = kj::str("/proc/self/fd/", received.get());
  int fd = open(path.cStr(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  kj::AutoCloseFd writable(fd);
  EXPECT_EQ(errorOfMap(writable, PROT_READ | PROT_WRITE, MAP_SHARED), EPERM);
  EXPECT_EQ(errorOfMap(writable, PROT_WRITE, MAP_SHARED), EPERM);
  EXPECT_EQ(errorOf(pwrite(writable, "x", 1, 0)), EPERM);
  EXPECT_EQ(errorOf(fcntl(writable, F_ADD_SEALS, F_SEAL_WRITE)), EPERM);
  attackSize(writable, EPERM, EPERM);

  void* start = mmap(nullptr, SIZE, PROT_READ, MAP_SHARED, writable, 0);
  ASSERT_NE(start, MAP_FAILED);
  EXPECT_EQ(errorOf(mprotect(start, SIZE, PROT_READ | PROT_WRITE)), EACCES);
  munmap(start, SIZE);
  // Truncating while opening is a resize like any other.
  EXPECT_EQ(errorOf(open(path.cStr(), O_RDWR | O_TRUNC | O_CLOEXEC)), EPERM);
  expectUnharmed();
}

// Catches a descriptor that shares its open file description with the owner's or another peer's.
TEST_F(ArenaAttack, OffsetAndFlagsAreTheReceiversOwn) {
  auto other = memfd->openReadOnly();
  ASSERT_EQ(lseek(received, 1234, SEEK_SET), 1234);
  ASSERT_EQ(fcntl(received, F_SETFL, O_NONBLOCK | O_APPEND), 0);
  EXPECT_EQ(lseek(other, 0, SEEK_CUR), 0);
  EXPECT_EQ(fcntl(other, F_GETFL) & (O_NONBLOCK | O_APPEND), 0);
  auto later = memfd->openReadOnly();
  EXPECT_EQ(lseek(later, 0, SEEK_CUR), 0);
  EXPECT_EQ(fcntl(later, F_GETFL) & (O_NONBLOCK | O_APPEND), 0);
}

// A store segment is not committed in full: a client must not be able to commit the rest.
TEST_F(ArenaAttack, PagesBelowTheEndCannotBeCommittedByAWrite) {
  auto segment = Memfd::create("test", SIZE);
  segment->commit(0, PAGE, Memfd::Warm::YES);
  auto reader = segment->openReadOnly();
  EXPECT_EQ(errorOf(fallocate(reader, 0, PAGE, PAGE)), EBADF);
  EXPECT_EQ(errorOf(pwrite(reader, "x", 1, 2 * PAGE)), EBADF);
  kj::byte byte = 1;
  EXPECT_EQ(pread(reader, &byte, 1, 2 * PAGE), 1);
  EXPECT_EQ(byte, 0);
  struct stat stats;
  ASSERT_EQ(fstat(reader, &stats), 0);
  EXPECT_EQ(stats.st_blocks * 512, PAGE);
}

// In a child of another uid: number of the first expectation that failed, 0 if none did.
int attackAsOtherUser(int fd) {
  if (setgid(OTHER_UID) != 0 || setuid(OTHER_UID) != 0) return 1;
  char path[64];
  snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  if (errorOf(open(path, O_RDWR)) != EACCES) return 2;
  if (errorOf(open(path, O_WRONLY)) != EACCES) return 3;
  if (errorOf(open(path, O_RDONLY)) != EACCES) return 4;
  if (errorOf(fchmod(fd, 0666)) != EPERM) return 5;
  if (errorOf(fchown(fd, OTHER_UID, OTHER_UID)) != EPERM) return 6;
  if (errorOf(ftruncate(fd, 0)) != EINVAL) return 7;
  if (errorOf(pwrite(fd, "x", 1, 0)) != EBADF) return 8;
  if (errorOf(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE)) != EPERM) return 9;
  if (errorOfMap(fd, PROT_READ | PROT_WRITE, MAP_SHARED) != EACCES) return 10;
  void* start = mmap(nullptr, SIZE, PROT_READ, MAP_SHARED, fd, 0);
  if (start == MAP_FAILED) return 11;
  if (*static_cast<const char*>(start) != 'a') return 12;
  if (errorOf(mprotect(start, SIZE, PROT_READ | PROT_WRITE)) != EACCES) return 13;
  if (errorOf(fcntl(fd, F_SETLEASE, F_RDLCK)) != EACCES) return 14;
  return 0;
}

TEST_F(ArenaAttack, AnotherUserCanReadAndNothingElse) {
  if (getuid() != 0) GTEST_SKIP() << "skipped, because only root can change its uid";
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) _exit(attackAsOtherUser(received));
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "see attackAsOtherUser()";
  expectUnharmed();
}

// A server that is not root has to reopen its own memfd: catches a file mode that shuts it out.
TEST_F(ArenaAttack, AServerWithoutPrivilegesCanMakeAndSendArenas) {
  if (getuid() != 0) GTEST_SKIP() << "skipped, because only root can change its uid";
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    if (setgid(OTHER_UID) != 0 || setuid(OTHER_UID) != 0) _exit(1);
    auto failed = kj::runCatchingExceptions([] {
      auto memfd = Memfd::create("test", SIZE);
      if (memfd->isOpenElsewhere()) _exit(3);
      auto reader = memfd->openReadOnly();
      if (!memfd->isOpenElsewhere()) _exit(4);
    });
    _exit(failed == nullptr ? 0 : 2);
  }
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace shm
