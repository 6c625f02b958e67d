// SPDX-License-Identifier: Apache-2.0
#pragma once
// A memfd that this process writes and others may read: the only caller of memfd_create.
//
// Its size is fixed when it is made. Pages are committed before anything points at them, so that a
// shortage shows here and never as a SIGBUS there. Once sealed, the kernel refuses every write,
// resize or further seal through any other descriptor, and what is handed to a peer is a read-only
// reopening of it. Nothing has a name outside this process: a crash leaves nothing behind.

#include "shm/pages.h"

#include <kj/array.h>
#include <kj/io.h>

#include <cstdint>

namespace shm {

// Thread: const methods from any thread. The bytes themselves are the owner's to synchronise.
class Memfd final {
public:
  // Makes a memfd of `size` bytes (a multiple of the page size), maps it writable and seals it.
  // No page is committed. Throws on failure. `name` shows in /proc/<pid>/fd only.
  static kj::Own<Memfd> create(kj::StringPtr name, uint64_t size);

  // Commits the pages of [offset, offset + length): page-aligned, within the size. Ask a
  // MemoryBudget first. `warm` also maps them here, so that the first write does not fault:
  // takes about 0.6 s a GiB, so not on an event loop; a tenth of that where Linux (6.1 and later)
  // gives huge pages for it, which it does for all whole ones. Throws if the kernel refuses.
  enum class Warm { NO, YES };
  void commit(uint64_t offset, uint64_t length, Warm warm) const;

  // The whole mapping, committed or not: only committed pages may be touched.
  kj::ArrayPtr<kj::byte> bytes() const { return mapping; }

  uint64_t size() const { return mapping.size(); }

  // A descriptor for peers: O_RDONLY, of an open file description of its own. The caller owns it.
  kj::AutoCloseFd openReadOnly() const;

  // Whether any descriptor of openReadOnly(), or a mapping of one, still exists in any process: it
  // would keep the pages alive when this object is gone. False also where the kernel cannot say
  // (fs.leases-enable=0, or the process has changed its uid); true where descriptors have run out.
  bool isOpenElsewhere() const;

  Memfd(kj::AutoCloseFd fd, kj::ArrayPtr<kj::byte> mapping);  // Use create().
  ~Memfd() noexcept(false);
  KJ_DISALLOW_COPY(Memfd);

private:
  void commitSmall(uint64_t offset, uint64_t length, Warm warm) const;

  kj::AutoCloseFd fd;
  kj::ArrayPtr<kj::byte> mapping;  // Ours: unmapped by the destructor.
};

}  // namespace shm
