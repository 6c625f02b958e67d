// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is checked of a memfd that came from a peer, before anything of it is believed.

#include <kj/one-of.h>
#include <kj/string.h>

#include <cstdint>

namespace shm {

// What was wrong with a peer's memory or with what it said about it.
struct PeerFault {
  enum class Cause {
    NOT_READABLE,   // The descriptor is not open for reading.
    NOT_A_FILE,     // A pipe, a socket, a directory, a device.
    NOT_MEMFD,      // A file of another file system, hugetlbfs among them.
    NOT_SEALED,     // It could still be shrunk.
    OUT_OF_BOUNDS,  // An offset or length outside of it.
    NOT_MAPPABLE,   // The kernel refused the mapping: no address space is left.
  } cause;
  kj::String message;
};

// Requires a readable plain tmpfs memfd that has all of `seals` (F_SEAL_…); answers its size.
// Never blocks, whatever `fd` is.
kj::OneOf<uint64_t, PeerFault> checkPeerMemfd(int fd, int seals);

// Null if `length` bytes at `offset` lie within `size` bytes.
kj::Maybe<PeerFault> checkBounds(uint64_t offset, uint64_t length, uint64_t size);

}  // namespace shm
