// SPDX-License-Identifier: Apache-2.0
#pragma once
// How payloads travel beside the messages of one session: where a request's are put, and where a
// reply's are found.

#include "client/ledger-client.h"
#include "client/view.h"
#include "schema/ledger.capnp.h"

#include <kj/async.h>

namespace ledger::client {

// A piece of an arena of ours, for the payloads of one request.
struct RequestRoom {
  uint32_t arena;
  kj::ArrayPtr<kj::byte> bytes;  // The arena from its start; stays valid while `region` lives.
  rpc::Region::Client region;    // The server drops it once it has read.
};

// Thread: the connection's.
class Transport {
public:
  virtual ~Transport() noexcept(false) = default;

  virtual TransportKind kind() const = 0;

  // Room for `bytes` of payloads, all of one request. Null: they go inline.
  virtual kj::Promise<kj::Maybe<RequestRoom>> reserve(uint64_t bytes) = 0;

  // A reply's payload in any form, checked against the memory that is really there. `bulk` must
  // stay valid until the promise resolves. Throws if the server broke the contract.
  virtual kj::Promise<Received> receive(rpc::Bulk::Reader bulk) = 0;
};

}  // namespace ledger::client
