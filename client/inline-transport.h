// SPDX-License-Identifier: Apache-2.0
#pragma once
// Everything rides in the messages: works wherever a socket does.

#include "client/transport.h"

namespace ledger::client {

// Thread: the connection's.
class InlineTransport final : public Transport {
public:
  TransportKind kind() const override { return TransportKind::INLINE; }
  kj::Promise<kj::Maybe<RequestRoom>> reserve(uint64_t bytes) override;
  kj::Promise<Received> receive(rpc::Bulk::Reader bulk) override;
};

}  // namespace ledger::client
