// SPDX-License-Identifier: Apache-2.0
#pragma once
// Puts the payloads of one request where they were given room: into the message, or one after the
// other into an arena of ours.

#include "client/transport.h"
#include "schema/packed-list.h"

namespace ledger::client {

class PayloadWriter final {
public:
  // Null: inline. Else `room` must be as long as all that will be written.
  explicit PayloadWriter(kj::Maybe<RequestRoom> room);

  // Makes `bulk` the packed list of `items`.
  void write(rpc::Bulk::Builder bulk, kj::ArrayPtr<const rpc::Bytes> items);

private:
  kj::Maybe<RequestRoom> room;
  uint64_t used = 0;  // Bytes of the room.
};

}  // namespace ledger::client
