// SPDX-License-Identifier: Apache-2.0
#pragma once
// Messages that a gRPC client has compressed. The library would inflate them by itself, and without
// a bound: a few kilobytes can become gigabytes.

#include "ledger/error.h"
#include "ledger/stop.h"
#include "shm/memory-budget.h"

#include <kj/array.h>

namespace ledger::server {

// Whether a message begins as gzip's files do. No protobuf message does: it would begin with a
// field of wire type 7.
bool isGzip(kj::ArrayPtr<const kj::byte> message);

struct Inflated {
  shm::Reservation reservation;
  kj::Array<kj::byte> bytes;
};

// Inflates twice: the first time only to see how much it is. Errors, with the texts of Go's gRPC:
// BAD_ENCODING, TOO_LARGE for over `most` bytes; OUT_OF_MEMORY, CANCELLED.
Result<Inflated> inflate(kj::ArrayPtr<const kj::byte> compressed, uint64_t most,
                         const shm::MemoryBudget& budget, const Stop& stop);

}  // namespace ledger::server
