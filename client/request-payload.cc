// SPDX-License-Identifier: Apache-2.0
#include "client/request-payload.h"

#include "schema/bulk.h"

#include <kj/debug.h>

namespace ledger::client {

PayloadWriter::PayloadWriter(kj::Maybe<RequestRoom> room) : room(kj::mv(room)) {}

void PayloadWriter::write(rpc::Bulk::Builder bulk, kj::ArrayPtr<const rpc::Bytes> items) {
  auto length = rpc::packedListSize(items);
  KJ_IF_MAYBE (shared, room) {
    KJ_ASSERT(length <= shared->bytes.size() - used, "a request outgrew its room", length, used);
    rpc::writePackedList(items, shared->bytes.slice(used, used + length));
    rpc::setSpan(bulk, shared->region, {shared->arena, used, length});
    used += length;
    return;
  }
  if (length <= rpc::INLINE_CHUNK_BYTES) {
    rpc::writePackedList(items, rpc::initInline(bulk, length)[0]);
    return;
  }
  auto whole = kj::heapArray<kj::byte>(length);
  rpc::writePackedList(items, whole);
  rpc::setInline(bulk, whole);
}

}  // namespace ledger::client
