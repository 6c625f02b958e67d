// SPDX-License-Identifier: Apache-2.0
#include "client/inline-transport.h"

#include <kj/debug.h>

namespace ledger::client {

kj::Promise<kj::Maybe<RequestRoom>> InlineTransport::reserve(uint64_t) {
  return kj::Maybe<RequestRoom>(nullptr);
}

kj::Promise<Received> InlineTransport::receive(rpc::Bulk::Reader bulk) {
  KJ_REQUIRE(bulk.isInline(), "the server's reply is not inline, as this session has agreed",
             static_cast<uint32_t>(bulk.which()));
  auto chunks = KJ_MAP(chunk, bulk.getInline())->kj::ArrayPtr<const kj::byte> {
    return chunk;
  };
  return onHeap(join(chunks));
}

}  // namespace ledger::client
