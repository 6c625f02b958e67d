// SPDX-License-Identifier: Apache-2.0
#pragma once
// Many byte strings as one payload (ledger.capnp, "Packed list"): u32 count, u32 zero, the items'
// lengths as u32, then the items back to back; little-endian.
//
// A writer sizes the list first and then writes it once, straight to where it is wanted. A reader
// checks the whole list against the bytes that are there before it allocates anything, and then
// looks at the items where they lie.

#include "schema/bad-payload.h"

#include <kj/array.h>
#include <kj/one-of.h>

#include <cstdint>

namespace ledger::rpc {

using Bytes = kj::ArrayPtr<const kj::byte>;

// Bytes of the packed list of `items`, each shorter than 4 GiB.
uint64_t packedListSize(kj::ArrayPtr<const Bytes> items);

// Bytes of what comes before the items, and writes it to `out`, which is as long.
uint64_t packedHeaderSize(size_t items);
void writePackedHeader(kj::ArrayPtr<const Bytes> items, kj::ArrayPtr<kj::byte> out);

// Writes the list to `out`, which is packedListSize(items) bytes long.
void writePackedList(kj::ArrayPtr<const Bytes> items, kj::ArrayPtr<kj::byte> out);

// A list that was found to be whole. It points into the payload.
class PackedList {
public:
  // The list must fill the payload exactly; each item has at most `maxItemLength` bytes.
  static kj::OneOf<PackedList, BadPayload> parse(Bytes payload, uint64_t maxItemLength);

  uint32_t count() const { return itemCount; }

  // Memory that items() allocates: up to four times the payload. Whoever took the payload from a
  // peer asks its budget first.
  uint64_t viewBytes() const { return uint64_t(itemCount) * sizeof(Bytes); }

  // Views, in order. They live as long as the payload.
  kj::Array<Bytes> items() const;

private:
  Bytes payload;
  uint32_t itemCount = 0;
};

}  // namespace ledger::rpc
