// SPDX-License-Identifier: Apache-2.0
#pragma once
// A peer's arena, mapped read-only by the one who receives it.
//
// The owner writes only what is not lent, so the bytes of a region stay as they are while its
// capability is held; the seal on its size rules out SIGBUS. A mapping keeps the pages alive: drop
// views before the region's capability, and the MappedArena of a large payload with it, or the
// memory stays counted against the session.

#include "shm/peer-memfd.h"

#include <kj/array.h>
#include <kj/io.h>
#include <kj/refcount.h>

namespace shm {

// Thread: every method is const and may be called from any thread.
class MappedArena final : public kj::AtomicRefcounted {
public:
  // Maps the first `size` > 0 bytes: what the owner says the arena has. The memfd must have them
  // and be sealed with F_SEAL_SHRINK. The descriptor is closed; the mapping goes on.
  static kj::OneOf<kj::Own<const MappedArena>, PeerFault> map(kj::AutoCloseFd fd, uint64_t size);

  uint64_t size() const { return mapping.size(); }

  // Bytes in place: the array keeps the mapping alive.
  kj::OneOf<kj::Array<const kj::byte>, PeerFault> view(uint64_t offset, uint64_t length) const;

  // The same without a reference: valid while this object lives.
  kj::OneOf<kj::ArrayPtr<const kj::byte>, PeerFault> peek(uint64_t offset, uint64_t length) const;

  // Maps pages that are about to be read at once, instead of by a fault each. Within the arena.
  // Only advice: it cannot fail.
  void populate(uint64_t offset, uint64_t length) const;

  explicit MappedArena(kj::ArrayPtr<const kj::byte> mapping);  // Use map().
  ~MappedArena() noexcept(false);

private:
  const kj::ArrayPtr<const kj::byte> mapping;  // Ours: unmapped by the destructor.
};

}  // namespace shm
