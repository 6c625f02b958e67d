// SPDX-License-Identifier: Apache-2.0
#include "shm/memfd.h"

#include <kj/debug.h>

#include <gtest/gtest.h>

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shm {
namespace {

const uint64_t PAGE = pageSize();

uint64_t committed(int fd) {
  struct stat stats;
  KJ_SYSCALL(fstat(fd, &stats));
  return stats.st_blocks * 512;
}

// Catches a page size that is not the kernel's: a commit of such pages would be refused where they
// are larger than 4 KiB.
TEST(Memfd, PageSizeIsTheKernelsGranule) {
  EXPECT_EQ(pageSize(), uint64_t(sysconf(_SC_PAGESIZE)));
  auto memfd = Memfd::create("test", 2 * pageSize());
  memfd->commit(pageSize(), pageSize(), Memfd::Warm::YES);
  EXPECT_EQ(committed(memfd->openReadOnly()), pageSize());
  EXPECT_THROW(memfd->commit(pageSize() / 2, pageSize(), Memfd::Warm::NO), kj::Exception);
}

// Catches a memfd that commits at creation: a store segment of 1 GiB would cost 1 GiB at once.
TEST(Memfd, StartsWithoutCommittedPages) {
  auto memfd = Memfd::create("test", 1024 * PAGE);
  EXPECT_EQ(memfd->size(), 1024 * PAGE);
  EXPECT_EQ(memfd->bytes().size(), 1024 * PAGE);
  EXPECT_EQ(committed(memfd->openReadOnly()), 0u);
}

// Huge pages or not: what is committed is what was asked for, wherever it begins and ends, and it is
// zero and can be written.
TEST(Memfd, CommitsRangesThatAreNotWholeHugePages) {
  constexpr uint64_t MIB = 1 << 20;
  auto memfd = Memfd::create("test", 11 * MIB);
  auto reader = memfd->openReadOnly();
  memfd->commit(MIB + PAGE, 8 * MIB, Memfd::Warm::YES);
  EXPECT_EQ(committed(reader), 8 * MIB);
  memfd->commit(0, 11 * MIB, Memfd::Warm::YES);
  EXPECT_EQ(committed(reader), 11 * MIB);
  for (uint64_t at = 0; at < 11 * MIB; at += PAGE) {
    ASSERT_EQ(memfd->bytes()[at], 0) << at;
    memfd->bytes()[at] = 1 + at / PAGE % 250;
  }
  for (uint64_t at = 0; at < 11 * MIB; at += 97 * PAGE) {
    kj::byte seen = 0;
    ASSERT_EQ(pread(reader, &seen, 1, at), 1);
    ASSERT_EQ(seen, 1 + at / PAGE % 250) << at;
  }
}

// Catches seals that forbid the owner to commit: stores commit segment by segment, long after
// sealing. Also a commit of the wrong range.
TEST(Memfd, CommitsInStepsAfterItWasSealed) {
  auto memfd = Memfd::create("test", 64 * PAGE);
  auto reader = memfd->openReadOnly();
  uint64_t expected = 0;
  for (auto warm : {Memfd::Warm::NO, Memfd::Warm::YES}) {
    memfd->commit(expected, 16 * PAGE, warm);
    expected += 16 * PAGE;
    EXPECT_EQ(committed(reader), expected);
  }
  memfd->commit(0, 32 * PAGE, Memfd::Warm::YES);  // Again: changes nothing.
  EXPECT_EQ(committed(reader), expected);
  memfd->commit(48 * PAGE, 0, Memfd::Warm::YES);
  EXPECT_EQ(committed(reader), expected);

  memfd->commit(32 * PAGE, 32 * PAGE, Memfd::Warm::NO);
  memfd->bytes().back() = 42;
  kj::byte last = 0;
  ASSERT_EQ(pread(reader, &last, 1, 64 * PAGE - 1), 1);
  EXPECT_EQ(last, 42);
}

// Catches warming that overwrites what a page already holds.
TEST(Memfd, WarmingKeepsTheBytes) {
  auto memfd = Memfd::create("test", 4 * PAGE);
  memfd->commit(0, 4 * PAGE, Memfd::Warm::NO);
  memfd->bytes()[PAGE] = 7;
  memfd->commit(0, 4 * PAGE, Memfd::Warm::YES);
  EXPECT_EQ(memfd->bytes()[PAGE], 7);
}

// Catches a commit that walks out of the mapping, by a plain excess or by an overflow.
TEST(Memfd, RefusesToCommitWhatIsNotItsOwnWholePages) {
  auto memfd = Memfd::create("test", 4 * PAGE);
  struct {
    uint64_t offset, length;
  } bad[] = {{0, 5 * PAGE},
             {4 * PAGE, PAGE},
             {5 * PAGE, 0},
             {1, PAGE},
             {0, 1},
             {PAGE, 0 - PAGE},
             {0 - PAGE, PAGE},
             {0 - PAGE, 2 * PAGE},
             {2 * PAGE, uint64_t(1) << 63}};
  for (auto& range : bad) {
    EXPECT_THROW(memfd->commit(range.offset, range.length, Memfd::Warm::NO), kj::Exception)
        << range.offset << " " << range.length;
  }
  EXPECT_EQ(committed(memfd->openReadOnly()), 0u);
}

TEST(Memfd, RefusesSizesThatAreNotWholePages) {
  for (uint64_t size : {uint64_t(0), uint64_t(1), PAGE + 1, uint64_t(1) << 63, 0 - PAGE}) {
    EXPECT_THROW(Memfd::create("test", size), kj::Exception) << size;
  }
}

// Catches SIGXFSZ ending the process instead of a message that names the limit.
TEST(Memfd, NamesTheFileSizeLimitThatIsInTheWay) {
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit low = {8 * PAGE, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  kj::String message;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([] { Memfd::create("test", 9 * PAGE); })) {
    message = kj::str(exception->getDescription());
  }
  EXPECT_EQ(Memfd::create("test", 8 * PAGE)->size(), 8 * PAGE);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_NE(std::string(message.cStr()).find("RLIMIT_FSIZE"), std::string::npos) << message.cStr();
}

// Catches a leak of descriptors or mappings.
TEST(Memfd, LeavesNothingBehind) {
  auto lowest = [] {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(fd);
    return fd;
  };
  const int before = lowest();
  kj::byte* address;
  {
    auto memfd = Memfd::create("test", 16 * PAGE);
    address = memfd->bytes().begin();
    auto reader = memfd->openReadOnly();
    EXPECT_NE(fcntl(reader, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(lowest(), before);
  }
  EXPECT_EQ(lowest(), before);
  unsigned char state;
  EXPECT_EQ(mincore(address, PAGE, &state), -1);
  EXPECT_EQ(errno, ENOMEM);
}

// Catches pages that a peer keeps alive after we believe that they are gone.
TEST(Memfd, KnowsWhetherAPeerStillHasADescriptorOrAMapping) {
  auto memfd = Memfd::create("test", PAGE);
  memfd->commit(0, PAGE, Memfd::Warm::YES);
  EXPECT_FALSE(memfd->isOpenElsewhere());
  void* mapping;
  {
    auto reader = memfd->openReadOnly();
    EXPECT_TRUE(memfd->isOpenElsewhere());
    mapping = mmap(nullptr, PAGE, PROT_READ, MAP_SHARED, reader, 0);
    ASSERT_NE(mapping, MAP_FAILED);
  }
  EXPECT_TRUE(memfd->isOpenElsewhere());
  munmap(mapping, PAGE);
  EXPECT_FALSE(memfd->isOpenElsewhere());
  auto again = memfd->openReadOnly();  // Asking must not get in the way of later openings.
  EXPECT_TRUE(memfd->isOpenElsewhere());
}

}  // namespace
}  // namespace shm
