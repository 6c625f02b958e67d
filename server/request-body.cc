// SPDX-License-Identifier: Apache-2.0
#include "server/request-body.h"

#include "server/rpc-errors.h"

#include <kj/debug.h>

namespace ledger::server {

Result<RequestBody> RequestBody::reserve(rpc::BulkPlace&& place, const PeerArenas& arenas,
                                         const shm::MemoryBudget& budget) {
  RequestBody body;
  uint64_t needed = place.length;
  KJ_SWITCH_ONEOF(place.form) {
    KJ_CASE_ONEOF(chunks, rpc::InlineChunks) {
      // Their views, here and in the copy's list.
      needed += 2 * chunks.chunks.size() * sizeof(Bytes);
      body.source = kj::mv(chunks);
    }
    KJ_CASE_ONEOF(span, rpc::ArenaSpan) {
      body.source = span;
      body.arenas = kj::atomicAddRef(arenas);
    }
    KJ_CASE_ONEOF(table, rpc::SpanTable) {
      // The table itself, and its entries once they have been read.
      needed += table.table.length + uint64_t(table.count) * sizeof(rpc::ArenaSpan);
      body.source = table;
      body.arenas = kj::atomicAddRef(arenas);
    }
  }

  auto reserved = budget.reserve(needed);
  if (reserved.is<shm::Shortage>()) return outOfMemory(reserved.get<shm::Shortage>());
  body.reservation = kj::mv(reserved.get<shm::Reservation>());
  body.bytes = kj::heapArray<kj::byte>(place.length);
  return kj::mv(body);
}

void RequestBody::addCopies(kj::Vector<Bytes>& from, kj::Vector<kj::ArrayPtr<kj::byte>>& to) {
  KJ_IF_MAYBE (chunks, source.tryGet<rpc::InlineChunks>()) {
    from.addAll(chunks->chunks);
    to.add(bytes);
    source = Here();
  }
}

kj::Maybe<Error> RequestBody::fetch(const Stop& stop) {
  KJ_SWITCH_ONEOF(source) {
    KJ_CASE_ONEOF(here, Here) {}
    KJ_CASE_ONEOF(chunks, rpc::InlineChunks) {
      KJ_FAIL_ASSERT("an inline payload was not copied on the loop");
    }
    KJ_CASE_ONEOF(span, rpc::ArenaSpan) {
      KJ_IF_MAYBE (error, arenas->read(span, bytes)) return kj::mv(*error);
    }
    KJ_CASE_ONEOF(table, rpc::SpanTable) {
      KJ_IF_MAYBE (error, readTable(*arenas, table, bytes, stop)) return kj::mv(*error);
    }
  }
  source = Here();
  return nullptr;
}

kj::Maybe<Error> RequestBody::readTable(const PeerArenas& arenas, const rpc::SpanTable& table,
                                        kj::ArrayPtr<kj::byte> into, const Stop& stop) {
  auto copy = kj::heapArray<kj::byte>(table.table.length);
  KJ_IF_MAYBE (error, arenas.read(table.table, copy)) return kj::mv(*error);
  auto parsed = rpc::parseTable(copy, into.size());
  if (parsed.is<rpc::BadPayload>()) return toError(kj::mv(parsed.get<rpc::BadPayload>()));

  // parseTable() has made sure that the spans fill `into` exactly.
  for (auto& span : parsed.get<kj::Array<rpc::ArenaSpan>>()) {
    if (span.length == 0) continue;
    if (stop.requested()) {
      return makeError(Code::CANCELLED, Reason::CANCELLED, "the call was dropped");
    }
    KJ_IF_MAYBE (error, arenas.read(span, into.slice(0, span.length))) return kj::mv(*error);
    into = into.slice(span.length, into.size());
  }
  return nullptr;
}

}  // namespace ledger::server
