// SPDX-License-Identifier: Apache-2.0
#include "schema/packed-list.h"

#include "schema/little-endian.h"

#include <kj/debug.h>

namespace ledger::rpc {
namespace {

constexpr uint64_t HEADER_BYTES = 8;  // Count and zero.
constexpr uint64_t LENGTH_BYTES = 4;

// Items may lie all over memory: so many ahead of the one that is copied, as many of their first
// bytes are asked for.
constexpr size_t ITEMS_AHEAD = 8;
constexpr size_t BYTES_AHEAD = 256;
constexpr size_t CACHE_LINE = 64;

void prefetch(Bytes item) {
  const auto* end = item.begin() + kj::min(item.size(), BYTES_AHEAD);
  for (const auto* at = item.begin(); at < end; at += CACHE_LINE) __builtin_prefetch(at);
}

}  // namespace

uint64_t packedListSize(kj::ArrayPtr<const Bytes> items) {
  // No overflow: the items are in memory together.
  uint64_t size = packedHeaderSize(items.size());
  for (auto& item : items) size += item.size();
  return size;
}

uint64_t packedHeaderSize(size_t items) {
  return HEADER_BYTES + LENGTH_BYTES * items;
}

void writePackedHeader(kj::ArrayPtr<const Bytes> items, kj::ArrayPtr<kj::byte> out) {
  KJ_REQUIRE(items.size() <= UINT32_MAX, "too many items for a packed list", items.size());
  KJ_REQUIRE(out.size() == packedHeaderSize(items.size()), "wrong room for a header", out.size());
  kj::byte* to = out.begin();
  storeLittle<uint32_t>(to, items.size());
  storeLittle<uint32_t>(to + 4, 0);
  to += HEADER_BYTES;
  for (auto& item : items) {
    KJ_REQUIRE(item.size() <= UINT32_MAX, "item too long for a packed list", item.size());
    storeLittle<uint32_t>(to, item.size());
    to += LENGTH_BYTES;
  }
}

void writePackedList(kj::ArrayPtr<const Bytes> items, kj::ArrayPtr<kj::byte> out) {
  KJ_REQUIRE(out.size() == packedListSize(items), "wrong room for a packed list", out.size());
  const uint64_t header = packedHeaderSize(items.size());
  writePackedHeader(items, out.slice(0, header));
  kj::byte* to = out.begin() + header;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i + ITEMS_AHEAD < items.size()) prefetch(items[i + ITEMS_AHEAD]);
    const auto& item = items[i];
    if (item.size() == 0) continue;
    memcpy(to, item.begin(), item.size());
    to += item.size();
  }
}

kj::OneOf<PackedList, BadPayload> PackedList::parse(Bytes payload, uint64_t maxItemLength) {
  if (payload.size() < HEADER_BYTES) {
    return badRequest("a packed list of ", payload.size(), " bytes has no header");
  }
  const uint32_t count = loadLittle<uint32_t>(payload.begin());
  const uint32_t zero = loadLittle<uint32_t>(payload.begin() + 4);
  if (zero != 0) return badRequest("a packed list's second number is ", zero, ", not 0");

  uint64_t rest = payload.size() - HEADER_BYTES;
  if (count > rest / LENGTH_BYTES) {
    return badRequest("a packed list of ", payload.size(), " bytes cannot hold ", count, " items");
  }
  rest -= uint64_t(count) * LENGTH_BYTES;

  const kj::byte* lengths = payload.begin() + HEADER_BYTES;
  for (uint32_t index = 0; index < count; ++index) {
    const uint64_t length = loadLittle<uint32_t>(lengths + uint64_t(index) * LENGTH_BYTES);
    if (length > maxItemLength) {
      return BadPayload{Code::INVALID_ARGUMENT, Reason::TOO_LARGE,
                        kj::str("item ", index, " of a packed list has ", length,
                                " bytes; the limit is ", maxItemLength)};
    }
    if (length > rest) {
      return badRequest("item ", index, " of a packed list has ", length, " bytes; ", rest,
                        " are left");
    }
    rest -= length;
  }
  if (rest != 0) return badRequest(rest, " bytes follow a packed list");

  PackedList list;
  list.payload = payload;
  list.itemCount = count;
  return list;
}

kj::Array<Bytes> PackedList::items() const {
  auto views = kj::heapArrayBuilder<Bytes>(itemCount);
  if (itemCount == 0) return views.finish();

  // parse() has checked every length, and the caller keeps the payload as it was.
  const kj::byte* lengths = payload.begin() + HEADER_BYTES;
  const kj::byte* item = lengths + uint64_t(itemCount) * LENGTH_BYTES;
  for (uint32_t index = 0; index < itemCount; ++index) {
    const uint64_t length = loadLittle<uint32_t>(lengths + uint64_t(index) * LENGTH_BYTES);
    views.add(item, length);
    item += length;
  }
  return views.finish();
}

}  // namespace ledger::rpc
