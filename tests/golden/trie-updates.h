// SPDX-License-Identifier: Apache-2.0
#pragma once
// A Set's request in the forms that flow-go logs and replies: rebuilt from the request alone.

#include "tests/golden/ledger-under-test.h"

namespace ledger::golden {

struct TrieUpdateForms {
  Bytes record;  // As in the log: an operation byte, then the encoded update.
  Bytes cbor;    // As in flow-go's gRPC reply.

  kj::ArrayPtr<const kj::byte> encoded() const { return record.slice(1, record.size()); }
  Bytes walRecord() const { return kj::heapArray<kj::byte>(record.asPtr()); }
};

TrieUpdateForms encodeTrieUpdate(const RootHash& state, Keys keys,
                                 kj::ArrayPtr<const Value> values);

}  // namespace ledger::golden
