// SPDX-License-Identifier: Apache-2.0
#include "shm/memfd.h"

#include <kj/debug.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <limits>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1.
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U  // Linux 6.3.
#endif

namespace shm {
namespace {

// No write but through the mapping that exists, no resize, no further seal.
constexpr int SEALS = F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

// fallocate gives back everything it did when a signal interrupts it: in steps of this many bytes
// it gets on even under a profiler's timer.
constexpr uint64_t COMMIT_STEP = uint64_t(64) << 20;

kj::AutoCloseFd makeMemfd(kj::StringPtr name) {
  constexpr unsigned FLAGS = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  // Where the machine refuses executable memfds this flag is required; old kernels do not know it.
  int fd = memfd_create(name.cStr(), FLAGS | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name.cStr(), FLAGS);
  if (fd < 0) KJ_FAIL_SYSCALL("memfd_create", errno, name);
  return kj::AutoCloseFd(fd);
}

// Resizing over RLIMIT_FSIZE raises SIGXFSZ, which ends a process that does not ignore it.
void checkFileSizeLimit(uint64_t size) {
  struct rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_FSIZE, &limit));
  KJ_REQUIRE(limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur,
             "a memfd of this size is over the process's file size limit (RLIMIT_FSIZE, ulimit -f)",
             size, limit.rlim_cur);
}

// Commits and maps `pages`, which are whole huge pages, as such, whatever shmem_enabled says: it
// rules what a page fault may do. False: not possible here and now; some may be committed.
//
// One small page of each is there before, as a range with none at all is refused; the huge page
// takes it in. That costs a fifth of what as many small pages would.
bool commitHuge(kj::ArrayPtr<kj::byte> pages) {
  enum class Known { NOTHING, WORKS, NEVER };
  static std::atomic<Known> known = Known::NOTHING;
  if (known.load(std::memory_order_relaxed) == Known::NEVER) return false;
  for (uint64_t at = 0; at < pages.size(); at += hugePageSize()) {
    if (madvise(&pages[at], pageSize(), MADV_POPULATE_WRITE) != 0) return false;
  }
  const bool done = madvise(pages.begin(), pages.size(), MADV_COLLAPSE) == 0;
  if (done) {
    known.store(Known::WORKS, std::memory_order_relaxed);
  } else if (errno == EINVAL) {
    // Too old a kernel, or denied, if it never worked: that will not change. Else these pages only.
    auto nothing = Known::NOTHING;
    known.compare_exchange_strong(nothing, Known::NEVER, std::memory_order_relaxed);
  }
  return done;
}

// For kernels without MADV_POPULATE_WRITE: one write a page, of what is there.
void touch(kj::ArrayPtr<kj::byte> pages) {
  for (uint64_t at = 0; at < pages.size(); at += pageSize()) {
    volatile kj::byte& first = pages[at];
    first = first;
  }
}

}  // namespace

kj::Own<Memfd> Memfd::create(kj::StringPtr name, uint64_t size) {
  KJ_REQUIRE(size > 0 && size % pageSize() == 0 && size <= std::numeric_limits<off_t>::max(),
             "not a size for a memfd", name, size, pageSize());
  checkFileSizeLimit(size);

  kj::AutoCloseFd fd = makeMemfd(name);
  KJ_SYSCALL(ftruncate(fd, size), name, size);
  // Readable by the owner, who reopens it for peers; to all others the descriptor is the only way.
  KJ_SYSCALL(fchmod(fd, S_IRUSR), name);

  auto* start = reserveAddresses(size);
  if (start == nullptr) KJ_FAIL_SYSCALL("mmap", errno, name, size);
  if (mmap(start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, 0) ==
      MAP_FAILED) {
    const int error = errno;
    munmap(start, size);
    KJ_FAIL_SYSCALL("mmap", error, name, size);
  }
  // From here the new object unmaps.
  auto result = kj::heap<Memfd>(kj::mv(fd), kj::arrayPtr(start, size));
  KJ_SYSCALL(fcntl(result->fd, F_ADD_SEALS, SEALS), name, size);
  return result;
}

Memfd::Memfd(kj::AutoCloseFd fd, kj::ArrayPtr<kj::byte> mapping)
    : fd(kj::mv(fd)), mapping(mapping) {}

Memfd::~Memfd() noexcept(false) {
  KJ_SYSCALL(munmap(mapping.begin(), mapping.size()));
}

void Memfd::commit(uint64_t offset, uint64_t length, Warm warm) const {
  KJ_REQUIRE(offset <= mapping.size() && length <= mapping.size() - offset &&
                 offset % pageSize() == 0 && length % pageSize() == 0,
             "not whole pages of this memfd", offset, length, mapping.size());

  // Huge pages in the middle, small ones at the ends.
  uint64_t hugeBegin = offset, hugeEnd = offset;
  if (warm == Warm::YES && hugePageSize() > 0) {
    const auto begin = roundUp(offset, hugePageSize());
    const auto end = (offset + length) / hugePageSize() * hugePageSize();
    if (begin < end && commitHuge(bytes().slice(begin, end))) {
      hugeBegin = begin;
      hugeEnd = end;
    }
  }
  commitSmall(offset, hugeBegin - offset, warm);
  commitSmall(hugeEnd, offset + length - hugeEnd, warm);
}

void Memfd::commitSmall(uint64_t offset, uint64_t length, Warm warm) const {
  for (uint64_t done = 0; done < length;) {
    const uint64_t step = kj::min(length - done, COMMIT_STEP);
    // ENOMEM, ENOSPC: no memory under vm.overcommit_memory=2. Elsewhere the kernel does not refuse.
    KJ_SYSCALL(fallocate(fd, 0, offset + done, step), "committing pages of shared memory",
               offset + done, step, mapping.size());
    done += step;
  }
  if (warm == Warm::NO || length == 0) return;
  auto pages = bytes().slice(offset, offset + length);
  KJ_SYSCALL_HANDLE_ERRORS(madvise(pages.begin(), pages.size(), MADV_POPULATE_WRITE)) {
    case EINVAL:
      touch(pages);
      break;
    default:
      KJ_FAIL_SYSCALL("madvise(MADV_POPULATE_WRITE)", error, offset, length);
  }
}

kj::AutoCloseFd Memfd::openReadOnly() const {
  int result;
  auto path = kj::str("/proc/self/fd/", fd.get());
  KJ_SYSCALL(result = open(path.cStr(), O_RDONLY | O_CLOEXEC), "needs /proc", path);
  return kj::AutoCloseFd(result);
}

bool Memfd::isOpenElsewhere() const {
  // The kernel grants a write lease on a read-only description only if it is the file's one
  // read-only description, and a mapping holds its description. The lease lasts for two calls; an
  // open() in between would send us a signal: let it be one that is ignored by default.
  int fd;
  auto path = kj::str("/proc/self/fd/", this->fd.get());
  KJ_SYSCALL_HANDLE_ERRORS(fd = open(path.cStr(), O_RDONLY | O_CLOEXEC)) {
    case EMFILE:
    case ENFILE:
      return true;  // To be on the safe side.
    default:
      return false;  // openReadOnly() cannot have worked either.
  }
  kj::AutoCloseFd witness(fd);
  KJ_SYSCALL(fcntl(witness, F_SETSIG, SIGURG));
  KJ_SYSCALL_HANDLE_ERRORS(fcntl(witness, F_SETLEASE, F_WRLCK)) {
    case EAGAIN:
      return true;
    case EACCES:
    case EINVAL:
      return false;
    default:
      KJ_FAIL_SYSCALL("fcntl(F_SETLEASE)", error);
  }
  return false;  // Closing the witness ends the lease.
}

}  // namespace shm
