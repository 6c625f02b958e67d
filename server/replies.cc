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

// The same for bytes of the store.
class StoredBytesServer final : public rpc::Region::Server {
public:
  StoredBytesServer(StoredBytes bytes, const Workers& workers)
      : bytes(kj::mv(bytes)), workers(workers) {}
  ~StoredBytesServer() noexcept(false) {
    KJ_IF_MAYBE (trie, bytes.end()) workers.destroy(kj::mv(*trie));
  }

private:
  StoredBytes bytes;
  const Workers& workers;
};

}  // namespace

ReplyWriter::ReplyWriter(Finished& finished, const Workers& workers) {
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
    KJ_CASE_ONEOF(stored, StoredBytes) {
      const auto table = stored.table();
      shared = Shared{kj::heap<StoredBytesServer>(kj::mv(stored), workers), table};
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
    KJ_SWITCH_ONEOF(common->place) {
      KJ_CASE_ONEOF(span, rpc::ArenaSpan) {
        rpc::setSpan(bulk, common->region,
                     {span.arena, span.offset + payload.offset, payload.length});
      }
      KJ_CASE_ONEOF(table, rpc::SpanTable) {
        rpc::setTable(bulk, common->region, table, payload.length);
      }
    }
  } else {
    from.add(inlineBytes.slice(payload.offset, payload.offset + payload.length));
    to.addAll(rpc::initInline(bulk, payload.length));
  }
}

kj::Promise<void> ReplyWriter::written() {
  return rpc::copyInSlices(from.releaseAsArray(), to.releaseAsArray());
}

}  // namespace ledger::server
