// SPDX-License-Identifier: Apache-2.0
#pragma once
// A Bulk, to bytes and back.
//
// Reading one takes two steps. locate() reads the message, once, and says where the payload lies
// and how long it is: figures that have been checked against each other and against a limit, so
// that memory can be reserved before anything is copied. Fetching the bytes is then the business of
// whoever has the arenas; it needs no message and may happen on another thread.

#include "schema/bad-payload.h"
#include "schema/ledger.capnp.h"
#include "schema/packed-list.h"

#include <kj/array.h>
#include <kj/async.h>
#include <kj/one-of.h>

#include <atomic>

namespace ledger::rpc {

// A piece of an arena. offset + length does not overflow; whether the arena is that long is for its
// holder to check.
struct ArenaSpan {
  uint32_t arena;
  uint64_t offset;  // Bytes.
  uint64_t length;  // Bytes.
};

// Of a table (ledger.capnp, Bulk.table.leaseValue).
struct Lease {
  static constexpr uint64_t BYTES = sizeof(uint64_t);

  ArenaSpan place = {0, 0, BYTES};
  uint64_t value = 0;  // 0: there is none.

  // For the reader: whether what was read before the call counts. `at` is where the number lies.
  static bool holds(const uint64_t* at, uint64_t value) {
    // Not before what was read until now.
    std::atomic_thread_fence(std::memory_order_acquire);
    return __atomic_load_n(at, __ATOMIC_RELAXED) == value;
  }
};

// In the message itself. The views live as long as the message; none is empty.
struct InlineChunks {
  kj::Array<Bytes> chunks;
};

// A table of spans: `table` is where it lies, `count` its entries.
struct SpanTable {
  ArenaSpan table;
  uint32_t count;
  Lease lease;
};

struct BulkPlace {
  uint64_t length;  // Bytes of the payload.
  kj::OneOf<InlineChunks, ArenaSpan, SpanTable> form;
  kj::Maybe<Region::Client> region;  // Of the latter two: keeps the bytes in place.
};

// Where the payload lies. `maxLength` bounds the payload, and a table.
kj::OneOf<BulkPlace, BadPayload> locate(Bulk::Reader bulk, uint64_t maxLength);

// The spans of a table whose bytes are `table`: a private copy, or memory that cannot change.
// `length` is what the Bulk said the payload's length is.
kj::OneOf<kj::Array<ArenaSpan>, BadPayload> parseTable(Bytes table, uint64_t length);

// Makes an inline Bulk of `length` bytes and gives its chunks, to be filled.
kj::Array<kj::ArrayPtr<kj::byte>> initInline(Bulk::Builder bulk, uint64_t length);

// Makes an inline Bulk of a small payload. A large one is better filled by copyInSlices().
void setInline(Bulk::Builder bulk, Bytes payload);

void setSpan(Bulk::Builder bulk, Region::Client region, const ArenaSpan& span);

// `length` is the payload's: the spans' together.
void setTable(Bulk::Builder bulk, Region::Client region, const SpanTable& table, uint64_t length);

// Bytes of a table of so many spans, and writes one to `out`, which is as long.
uint64_t tableSize(size_t spans);
void writeTable(kj::ArrayPtr<const ArenaSpan> spans, kj::ArrayPtr<kj::byte> out);

// Copies one sequence of pieces to another of the same total length, a slice at a time, with the
// loop's other work between slices. Both memories must live until the promise is done or dropped.
kj::Promise<void> copyInSlices(kj::Array<Bytes> from, kj::Array<kj::ArrayPtr<kj::byte>> to);

}  // namespace ledger::rpc
