// SPDX-License-Identifier: Apache-2.0
#include "shm/mapped-arena.h"

#include "shm/pages.h"

#include <kj/debug.h>

#include <cerrno>

#include <fcntl.h>
#include <sys/mman.h>

namespace shm {

kj::OneOf<kj::Own<const MappedArena>, PeerFault> MappedArena::map(kj::AutoCloseFd fd,
                                                                  uint64_t size) {
  auto checked = checkPeerMemfd(fd, F_SEAL_SHRINK);
  KJ_IF_MAYBE (fault, checked.tryGet<PeerFault>()) {
    return kj::mv(*fault);
  }
  const uint64_t has = checked.get<uint64_t>();
  if (size == 0 || size > has) {
    return PeerFault{PeerFault::Cause::OUT_OF_BOUNDS,
                     kj::str("an arena said to have ", size, " bytes has ", has)};
  }

  auto* start = reserveAddresses(size);
  if (start == nullptr ||
      mmap(start, size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const int error = errno;
    if (start != nullptr) munmap(start, size);
    if (error == ENOMEM) {
      return PeerFault{PeerFault::Cause::NOT_MAPPABLE,
                       kj::str("no address space for an arena of ", size, " bytes")};
    }
    KJ_FAIL_SYSCALL("mmap", error, size);
  }
  kj::Own<const MappedArena> arena = kj::atomicRefcounted<MappedArena>(
      kj::arrayPtr<const kj::byte>(start, size));
  return kj::mv(arena);
}

MappedArena::MappedArena(kj::ArrayPtr<const kj::byte> mapping) : mapping(mapping) {}

MappedArena::~MappedArena() noexcept(false) {
  KJ_SYSCALL(munmap(const_cast<kj::byte*>(mapping.begin()), mapping.size()));
}

kj::OneOf<kj::ArrayPtr<const kj::byte>, PeerFault> MappedArena::peek(uint64_t offset,
                                                                     uint64_t length) const {
  KJ_IF_MAYBE (fault, checkBounds(offset, length, mapping.size())) {
    return kj::mv(*fault);
  }
  return mapping.slice(offset, offset + length);
}

kj::OneOf<kj::Array<const kj::byte>, PeerFault> MappedArena::view(uint64_t offset,
                                                                  uint64_t length) const {
  auto bytes = peek(offset, length);
  KJ_IF_MAYBE (fault, bytes.tryGet<PeerFault>()) {
    return kj::mv(*fault);
  }
  return bytes.get<kj::ArrayPtr<const kj::byte>>().attach(kj::atomicAddRef(*this));
}

void MappedArena::populate(uint64_t offset, uint64_t length) const {
  KJ_REQUIRE(checkBounds(offset, length, mapping.size()) == nullptr, offset, length,
             mapping.size());
  if (length == 0) return;
  const uint64_t start = offset / pageSize() * pageSize();
  // The result does not matter: pages that are not mapped now are mapped when they are read.
  (void)madvise(const_cast<kj::byte*>(mapping.begin()) + start, offset + length - start,
                MADV_POPULATE_READ);
}

}  // namespace shm
