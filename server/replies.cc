// SPDX-License-Identifier: Apache-2.0
#include "server/replies.h"

#include "schema/bulk.h"
#include "server/rpc-errors.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

// What a client holds; dropping it gives the bytes back to the arena.
class RegionServer final : public rpc::Region::Server {
public:
  explicit RegionServer(shm::Region region) : region(kj::mv(region)) {}

private:
  shm::Region region;
};

}  // namespace

ReplyWriter::ReplyWriter(Finished& finished) {
  KJ_SWITCH_ONEOF(finished.payload) {
    KJ_CASE_ONEOF(nothing, Finished::Nothing) {}
    KJ_CASE_ONEOF(bytes, InlineBytes) {
      inlineBytes = bytes.bytes;
    }
    KJ_CASE_ONEOF(region, shm::Region) {
      const rpc::ArenaSpan span{region.arenaId(), region.span().offset,
                                finished.answers.payloadSize()};
      shared = Shared{kj::heap<RegionServer>(kj::mv(region)), span};
    }
  }
}

void ReplyWriter::fill(rpc::StateReply::Builder reply, const Answer& answer) {
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) {
    server::fill(reply.initError(), *error);
  } else {
    reply.setState(answer.get<RootHash>().ptr());
  }
}

void ReplyWriter::fill(rpc::HasStateReply::Builder reply, const Answer& answer) {
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) {
    server::fill(reply.initError(), *error);
  } else {
    reply.setFound(answer.get<bool>());
  }
}

void ReplyWriter::fill(rpc::ValueReply::Builder reply, const Answer& answer) {
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) {
    server::fill(reply.initError(), *error);
  } else {
    fillBulk(reply.initValue(), answer.get<Payload>());
  }
}

void ReplyWriter::fill(rpc::GetReply::Builder reply, const Answer& answer) {
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) {
    server::fill(reply.initError(), *error);
  } else {
    fillBulk(reply.initValues(), answer.get<Payload>());
  }
}

void ReplyWriter::fill(rpc::ProveReply::Builder reply, const Answer& answer) {
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) {
    server::fill(reply.initError(), *error);
  } else {
    fillBulk(reply.initProof(), answer.get<Payload>());
  }
}

void ReplyWriter::fillBulk(rpc::Bulk::Builder bulk, const Payload& payload) {
  KJ_IF_MAYBE (common, shared) {
    rpc::setSpan(bulk, common->region,
                 {common->span.arena, common->span.offset + payload.offset, payload.length});
  } else {
    from.add(inlineBytes.slice(payload.offset, payload.offset + payload.length));
    to.addAll(rpc::initInline(bulk, payload.length));
  }
}

kj::Promise<void> ReplyWriter::written() {
  return rpc::copyInSlices(from.releaseAsArray(), to.releaseAsArray());
}

}  // namespace ledger::server
