// SPDX-License-Identifier: Apache-2.0
#include "shm/peer-arena.h"

#include <kj/debug.h>

#include <fcntl.h>
#include <unistd.h>

namespace shm {

kj::OneOf<kj::Own<const PeerArena>, PeerFault> PeerArena::accept(kj::AutoCloseFd fd) {
  auto checked = checkPeerMemfd(fd, F_SEAL_SHRINK);
  KJ_IF_MAYBE (fault, checked.tryGet<PeerFault>()) {
    return kj::mv(*fault);
  }
  kj::Own<const PeerArena> arena =
      kj::atomicRefcounted<PeerArena>(kj::mv(fd), checked.get<uint64_t>());
  return kj::mv(arena);
}

PeerArena::PeerArena(kj::AutoCloseFd fd, uint64_t length) : fd(kj::mv(fd)), length(length) {}

kj::Maybe<PeerFault> PeerArena::read(uint64_t offset, kj::ArrayPtr<kj::byte> into) const {
  KJ_IF_MAYBE (fault, checkBounds(offset, into.size(), length)) {
    return kj::mv(*fault);
  }
  while (into.size() > 0) {
    ssize_t count;
    KJ_SYSCALL(count = pread(fd, into.begin(), into.size(), offset), offset, into.size(), length);
    // The seal rules it out; were it to happen, the rest of `into` would be stale.
    KJ_REQUIRE(count > 0, "a sealed memfd ended early", offset, into.size(), length);
    offset += count;
    into = into.slice(count, into.size());
  }
  return nullptr;
}

}  // namespace shm
