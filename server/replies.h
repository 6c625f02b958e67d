// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finished answers, into the messages that carry them.

#include "schema/ledger.capnp.h"
#include "server/placement.h"
#include "server/workers.h"

#include <kj/async.h>
#include <kj/vector.h>

namespace ledger::server {

// Writes the replies of one call.
// Thread: its session's loop. `finished` must live until written() is done.
class ReplyWriter final {
public:
  // `workers` outlive the client's regions.
  ReplyWriter(Finished& finished, const Workers& workers);

  void fill(rpc::StateReply::Builder reply, const Answer& answer);
  void fill(rpc::HasStateReply::Builder reply, const Answer& answer);
  void fill(rpc::ValueReply::Builder reply, const Answer& answer);
  void fill(rpc::GetReply::Builder reply, const Answer& answer);
  void fill(rpc::ProveReply::Builder reply, const Answer& answer);

  // Copies the inline payloads; at once if there is little of them.
  kj::Promise<void> written();

private:
  void fillBulk(rpc::Bulk::Builder bulk, const Payload& payload);

  kj::ArrayPtr<const kj::byte> inlineBytes;  // Of all payloads, if they go inline.
  struct Shared {
    rpc::Region::Client region;
    // Of all payloads, or of the only one.
    kj::OneOf<rpc::ArenaSpan, rpc::SpanTable> place;
  };
  kj::Maybe<Shared> shared;
  kj::Vector<Bytes> from;
  kj::Vector<kj::ArrayPtr<kj::byte>> to;
};

}  // namespace ledger::server
