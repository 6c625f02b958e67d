// SPDX-License-Identifier: Apache-2.0
#pragma once
// A batch, to the contract's messages and back: the single operations' fields in a union each.

#include "client/messages.h"

namespace ledger::client {

// `to` has one element for each operation.
void fill(capnp::List<rpc::Operation>::Builder to, kj::ArrayPtr<const Operation> operations,
          PayloadWriter& payloads);

RequestSize sizeOf(kj::ArrayPtr<const Operation> operations);

// `reply` and `operations` must stay valid until the promise resolves.
kj::Promise<Result<kj::Array<OperationResult>>> readBatch(rpc::BatchReply::Reader reply,
                                                          kj::ArrayPtr<const Operation> operations,
                                                          Transport& transport);

}  // namespace ledger::client
