// SPDX-License-Identifier: Apache-2.0
#pragma once
// Memory of this process that peers may be given to read: an arena, or a segment of the store.

#include <kj/io.h>
#include <kj/refcount.h>

#include <cstdint>

namespace shm {

// Thread: every method is const and may be called from any thread.
class PeerReadable : public kj::AtomicRefcounted {
public:
  virtual ~PeerReadable() noexcept(false) = default;

  // Bytes: the length of the memfd.
  virtual uint64_t capacity() const = 0;

  // For the peer: see Memfd::openReadOnly(). Whoever hands it over keeps a reference to this for as
  // long as the peer may ask for it again.
  virtual kj::AutoCloseFd openReadOnly() const = 0;

  // Whether a descriptor from openReadOnly(), or a mapping of one, still exists anywhere: the pages
  // outlive this object until it does not.
  virtual bool isOpenElsewhere() const = 0;
};

}  // namespace shm
