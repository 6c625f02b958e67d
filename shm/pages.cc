// SPDX-License-Identifier: Apache-2.0
#include "shm/pages.h"

#include <kj/debug.h>

#include <fstream>

#include <sys/mman.h>
#include <unistd.h>

namespace shm {

uint64_t pageSize() {
  static const uint64_t SIZE = sysconf(_SC_PAGESIZE);
  return SIZE;
}

uint64_t hugePageSize() {
  static const uint64_t SIZE = []() -> uint64_t {
    uint64_t bytes = 0;
    std::ifstream("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size") >> bytes;
    return bytes;
  }();
  return SIZE;
}

kj::byte* reserveAddresses(uint64_t bytes) {
  const uint64_t size = roundUp(bytes, pageSize());
  const uint64_t alignment = hugePageSize() > 0 && size >= hugePageSize() ? hugePageSize() : 0;
  void* start = mmap(nullptr, size + alignment, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) return nullptr;
  auto* begin = reinterpret_cast<kj::byte*>(start);
  if (alignment == 0) return begin;
  const uint64_t before = -reinterpret_cast<uintptr_t>(begin) % alignment;
  if (before > 0) {
    KJ_SYSCALL(munmap(begin, before));
  }
  KJ_SYSCALL(munmap(begin + before + size, alignment - before));
  return begin + before;
}

}  // namespace shm
