// SPDX-License-Identifier: Apache-2.0
#pragma once
// Large payloads lie in shared memory; only their places travel in the messages.

#include "client/held-regions.h"
#include "client/reply-arenas.h"
#include "client/request-arenas.h"
#include "client/state-view.h"
#include "client/transport.h"
#include "schema/bulk.h"

namespace ledger::client {

// Thread: the connection's.
class ShmTransport final : public Transport {
public:
  struct Options {
    uint64_t maxPayloadBytes;  // A longer reply is an error: it might have to be copied.
    kj::Duration mappingIdle;  // See ReplyArenas.
    RequestArenas::Limits requestArenas;
  };

  ShmTransport(rpc::Session::Client session, kj::Timer& timer, const Options& options);
  ~ShmTransport() noexcept(false);

  TransportKind kind() const override { return TransportKind::SHARED_MEMORY; }
  kj::Promise<kj::Maybe<RequestRoom>> reserve(uint64_t bytes) override;
  kj::Promise<Received> receive(rpc::Bulk::Reader bulk) override;

  // `view` must stay valid until the promise resolves. Throws if the server broke the contract.
  kj::Promise<kj::Own<const StateView>> receiveView(rpc::StateView::Reader view,
                                                    const RootHash& state,
                                                    kj::Own<const ConnectionEnd> connection);

private:
  // Opens those of `ids` that come after `opened`, a few at a time; all of them.
  kj::Promise<kj::Array<kj::Own<const shm::MappedArena>>> openAll(
      kj::Array<uint32_t> ids, kj::Vector<kj::Own<const shm::MappedArena>> opened = {});
  kj::Promise<Received> receiveSpan(const rpc::ArenaSpan& span, rpc::Region::Client region);
  kj::Promise<Received> receiveTable(const rpc::SpanTable& table, uint64_t length,
                                     rpc::Region::Client region);

  const uint64_t maxPayloadBytes;
  kj::Own<HeldRegions> regions;  // Shared with the views, which may outlive this.
  RequestArenas requestArenas;
  ReplyArenas replyArenas;
};

}  // namespace ledger::client
