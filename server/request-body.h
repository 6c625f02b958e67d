// SPDX-License-Identifier: Apache-2.0
#pragma once
// A payload of a request, on its way to memory that nobody else can write.
//
// Its length is known and its memory reserved before a byte is copied. What came inline is copied
// on the loop, what lies in a client's arena is read on a worker. Either way it is copied once, and
// only the copy is ever looked at.

#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/stop.h"
#include "schema/bulk.h"
#include "server/peer-arenas.h"
#include "shm/memory-budget.h"

#include <kj/array.h>
#include <kj/one-of.h>
#include <kj/vector.h>

namespace ledger::server {

using Bytes = kj::ArrayPtr<const kj::byte>;

// Thread: one owner at a time.
class RequestBody final {
public:
  RequestBody() = default;  // Empty.

  // Error: OUT_OF_MEMORY.
  static Result<RequestBody> reserve(rpc::BulkPlace&& place, const PeerArenas& arenas,
                                     const shm::MemoryBudget& budget);

  uint64_t size() const { return bytes.size(); }

  // Appends what has to be copied on the loop, and where to. Once; the message must live until it
  // has been copied.
  void addCopies(kj::Vector<Bytes>& from, kj::Vector<kj::ArrayPtr<kj::byte>>& to);

  // Reads what is lent; nothing to do otherwise. Not on an event loop. Errors: BAD_ARENA,
  // BAD_REQUEST, CANCELLED.
  kj::Maybe<Error> fetch(const Stop& stop);

  // Once everything is there.
  Bytes content() const { return bytes; }

private:
  static kj::Maybe<Error> readTable(const PeerArenas& arenas, const rpc::SpanTable& table,
                                    kj::ArrayPtr<kj::byte> into, const Stop& stop);

  shm::Reservation reservation;  // Before the memory that it is for.
  kj::Array<kj::byte> bytes;

  // Where the bytes still are; Here: in `bytes`.
  struct Here {};
  kj::OneOf<Here, rpc::InlineChunks, rpc::ArenaSpan, rpc::SpanTable> source = Here();
  kj::Own<const PeerArenas> arenas;  // Null unless they are in a client's arena.
};

}  // namespace ledger::server
