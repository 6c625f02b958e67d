// SPDX-License-Identifier: Apache-2.0
#include "schema/bulk.h"

#include "schema/little-endian.h"

#include <kj/debug.h>
#include <kj/vector.h>

namespace ledger::rpc {
namespace {

// Long enough that the copy outweighs the turn of the loop; so short, since a loop may run tens of
// them before it looks for input: in new memory 32 slices take some 0.3 ms, which is what other
// sessions wait at worst.
constexpr size_t SLICE_BYTES = 16 << 10;

bool overflows(uint64_t offset, uint64_t length) {
  return offset > UINT64_MAX - length;
}

BadPayload tooLong(uint64_t length, uint64_t limit) {
  return {Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE,
          kj::str("a payload of ", length, " bytes is over the limit of ", limit)};
}

BadPayload tooManyChunks(uint64_t count, uint64_t limit) {
  return badRequest("a payload in ", count, " chunks; at its length there may be ", limit);
}

kj::OneOf<BulkPlace, BadPayload> locateInline(capnp::List<capnp::Data>::Reader list,
                                              uint64_t maxLength) {
  // Before any of them is looked at: a view of a chunk costs more than the chunk's place in the
  // message does.
  const auto most = [](uint64_t length) { return SHORT_CHUNKS + length / MIN_CHUNK_BYTES; };
  if (list.size() > most(maxLength)) return tooManyChunks(list.size(), most(maxLength));

  uint64_t length = 0;
  kj::Vector<Bytes> chunks;
  for (auto chunk : list) {
    if (chunk.size() == 0) continue;
    length += chunk.size();  // No overflow: the chunks are in memory, each counted once.
    if (length > maxLength) return tooLong(length, maxLength);
    chunks.add(chunk);
  }
  if (list.size() > most(length)) return tooManyChunks(list.size(), most(length));
  return BulkPlace{length, InlineChunks{chunks.releaseAsArray()}, nullptr};
}

kj::OneOf<BulkPlace, BadPayload> locateSpan(Bulk::Span::Reader span, uint64_t maxLength) {
  if (!span.hasRegion()) return badRequest("a span without a region");
  if (span.getLength() > maxLength) return tooLong(span.getLength(), maxLength);
  if (overflows(span.getOffset(), span.getLength())) {
    return badRequest("a span of ", span.getLength(), " bytes at ", span.getOffset(), " overflows");
  }
  return BulkPlace{span.getLength(), ArenaSpan{span.getArena(), span.getOffset(), span.getLength()},
                   span.getRegion()};
}

kj::OneOf<BulkPlace, BadPayload> locateTable(Bulk::Table::Reader table, uint64_t maxLength) {
  if (!table.hasRegion()) return badRequest("a table of spans without a region");
  if (table.getLength() > maxLength) return tooLong(table.getLength(), maxLength);
  const uint64_t tableLength = tableSize(table.getCount());
  if (tableLength > maxLength) {
    return badRequest("a table of ", table.getCount(), " spans is longer than a payload may be");
  }
  if (overflows(table.getOffset(), tableLength)) {
    return badRequest("a table of ", tableLength, " bytes at ", table.getOffset(), " overflows");
  }
  const Lease lease{{table.getLeaseArena(), table.getLease(), Lease::BYTES}, table.getLeaseValue()};
  if (lease.place.offset % Lease::BYTES != 0 || overflows(lease.place.offset, Lease::BYTES)) {
    return badRequest("a table whose lease lies at ", lease.place.offset);
  }
  return BulkPlace{table.getLength(),
                   SpanTable{ArenaSpan{table.getArena(), table.getOffset(), tableLength},
                             table.getCount(), lease},
                   table.getRegion()};
}

// The state of one sliced copy, held by its promise.
class SlicedCopy {
public:
  SlicedCopy(kj::Array<Bytes> from, kj::Array<kj::ArrayPtr<kj::byte>> to)
      : from(kj::mv(from)), to(kj::mv(to)) {}

  // Copies up to SLICE_BYTES. False: nothing is left.
  bool copySlice() {
    size_t room = SLICE_BYTES;
    while (room > 0) {
      while (source < from.size() && from[source].size() == 0) ++source;
      while (target < to.size() && to[target].size() == 0) ++target;
      if (source == from.size() || target == to.size()) {
        KJ_ASSERT(source == from.size() && target == to.size(), "copy between unequal lengths");
        return false;
      }
      const size_t length = kj::min(room, kj::min(from[source].size(), to[target].size()));
      memcpy(to[target].begin(), from[source].begin(), length);
      from[source] = from[source].slice(length, from[source].size());
      to[target] = to[target].slice(length, to[target].size());
      room -= length;
    }
    return true;
  }

  kj::Promise<void> run() {
    if (!copySlice()) return kj::READY_NOW;
    return kj::evalLater([this]() { return run(); });
  }

private:
  kj::Array<Bytes> from;
  kj::Array<kj::ArrayPtr<kj::byte>> to;
  size_t source = 0;  // Index of the first piece that is not used up.
  size_t target = 0;
};

}  // namespace

kj::OneOf<BulkPlace, BadPayload> locate(Bulk::Reader bulk, uint64_t maxLength) {
  switch (bulk.which()) {
    case Bulk::UNSET:
      return badRequest("a payload that was left unset");
    case Bulk::INLINE:
      return locateInline(bulk.getInline(), maxLength);
    case Bulk::SPAN:
      return locateSpan(bulk.getSpan(), maxLength);
    case Bulk::TABLE:
      return locateTable(bulk.getTable(), maxLength);
  }
  // A form from a later version of the schema.
  return BadPayload{Code::UNIMPLEMENTED, Reason::UNSPECIFIED,
                    kj::str("payload form ", uint32_t(bulk.which()), " is not known here")};
}

kj::OneOf<kj::Array<ArenaSpan>, BadPayload> parseTable(Bytes table, uint64_t length) {
  KJ_REQUIRE(table.size() % TABLE_ENTRY_BYTES == 0, "not a whole table", table.size());
  auto spans = kj::heapArrayBuilder<ArenaSpan>(table.size() / TABLE_ENTRY_BYTES);
  uint64_t rest = length;
  for (const kj::byte* entry = table.begin(); entry != table.end(); entry += TABLE_ENTRY_BYTES) {
    ArenaSpan span{loadLittle<uint32_t>(entry), loadLittle<uint64_t>(entry + 8),
                   loadLittle<uint64_t>(entry + 16)};
    if (loadLittle<uint32_t>(entry + 4) != 0) {
      return badRequest("span ", spans.size(), " of a table has a second number other than 0");
    }
    if (span.length > rest || overflows(span.offset, span.length)) {
      return badRequest("span ", spans.size(), " of a table has ", span.length, " bytes at ",
                        span.offset, "; ", rest, " bytes of the payload are left");
    }
    rest -= span.length;
    spans.add(span);
  }
  if (rest != 0) return badRequest("a table's spans are ", rest, " bytes short of the payload");
  return spans.finish();
}

kj::Array<kj::ArrayPtr<kj::byte>> initInline(Bulk::Builder bulk, uint64_t length) {
  const uint64_t count = (length + INLINE_CHUNK_BYTES - 1) / INLINE_CHUNK_BYTES;
  auto list = bulk.initInline(count);
  auto chunks = kj::heapArrayBuilder<kj::ArrayPtr<kj::byte>>(count);
  for (uint64_t index = 0; index < count; ++index) {
    const uint64_t size = kj::min(uint64_t(INLINE_CHUNK_BYTES), length);
    chunks.add(list.init(index, size));
    length -= size;
  }
  return chunks.finish();
}

void setInline(Bulk::Builder bulk, Bytes payload) {
  const kj::byte* from = payload.begin();
  for (auto& chunk : initInline(bulk, payload.size())) {
    memcpy(chunk.begin(), from, chunk.size());
    from += chunk.size();
  }
}

void setSpan(Bulk::Builder bulk, Region::Client region, const ArenaSpan& span) {
  auto builder = bulk.initSpan();
  builder.setRegion(kj::mv(region));
  builder.setArena(span.arena);
  builder.setOffset(span.offset);
  builder.setLength(span.length);
}

void setTable(Bulk::Builder bulk, Region::Client region, const SpanTable& table, uint64_t length) {
  auto builder = bulk.initTable();
  builder.setRegion(kj::mv(region));
  builder.setArena(table.table.arena);
  builder.setOffset(table.table.offset);
  builder.setCount(table.count);
  builder.setLength(length);
  builder.setLeaseArena(table.lease.place.arena);
  builder.setLease(table.lease.place.offset);
  builder.setLeaseValue(table.lease.value);
}

uint64_t tableSize(size_t spans) {
  return uint64_t(spans) * TABLE_ENTRY_BYTES;
}

void writeTable(kj::ArrayPtr<const ArenaSpan> spans, kj::ArrayPtr<kj::byte> out) {
  KJ_REQUIRE(out.size() == tableSize(spans.size()), "wrong room for a table", out.size());
  kj::byte* to = out.begin();
  for (auto& span : spans) {
    storeLittle<uint32_t>(to, span.arena);
    storeLittle<uint32_t>(to + 4, 0);
    storeLittle<uint64_t>(to + 8, span.offset);
    storeLittle<uint64_t>(to + 16, span.length);
    to += TABLE_ENTRY_BYTES;
  }
}

kj::Promise<void> copyInSlices(kj::Array<Bytes> from, kj::Array<kj::ArrayPtr<kj::byte>> to) {
  auto copy = kj::heap<SlicedCopy>(kj::mv(from), kj::mv(to));
  auto promise = copy->run();
  return promise.attach(kj::mv(copy));
}

}  // namespace ledger::rpc
