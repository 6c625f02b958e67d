// SPDX-License-Identifier: Apache-2.0
#pragma once
// Shared memory that a peer writes and this process reads.
//
// Nothing of it is ever mapped here. The descriptor is checked once, then bytes are copied with
// pread into memory of our own, so that they cannot change while they are looked at, there is no
// SIGBUS whatever the peer does to its pages, and no page is committed on our account: a hole reads
// as zeros. What a caller has copied it has to check: the peer may write at any time, also during
// the copy.

#include "shm/peer-memfd.h"

#include <kj/io.h>
#include <kj/refcount.h>

namespace shm {

// Thread: every method is const and may be called from any thread.
class PeerArena final : public kj::AtomicRefcounted {
public:
  // The peer's seals must hold F_SEAL_SHRINK; all others are the peer's choice. Later growth is
  // ignored. Never blocks, whatever `fd` is.
  static kj::OneOf<kj::Own<const PeerArena>, PeerFault> accept(kj::AutoCloseFd fd);

  uint64_t size() const { return length; }

  // Fills `into` from `offset`. Null: done. After a fault the content of `into` is undefined.
  // Some 0.1 s a GiB.
  kj::Maybe<PeerFault> read(uint64_t offset, kj::ArrayPtr<kj::byte> into) const;

  PeerArena(kj::AutoCloseFd fd, uint64_t length);  // Use accept().

private:
  kj::AutoCloseFd fd;
  const uint64_t length;  // Bytes, when it was accepted: sealed against becoming less.
};

}  // namespace shm
