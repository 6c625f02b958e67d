// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/trie-updates.h"

#include "ledger/path-finder.h"
#include "ledger/trie-update-cbor.h"
#include "ledger/trie-update.h"

#include <kj/debug.h>

namespace ledger::golden {

namespace {

uint64_t sizeOr(Result<uint64_t> size) {
  KJ_SWITCH_ONEOF(size) {
    KJ_CASE_ONEOF(error, Error) {
      KJ_FAIL_REQUIRE("cannot be encoded", error.message);
    }
    KJ_CASE_ONEOF(bytes, uint64_t) {
      return bytes;
    }
  }
  KJ_UNREACHABLE;
}

}  // namespace

TrieUpdateForms encodeTrieUpdate(const RootHash& state, Keys keys,
                                 kj::ArrayPtr<const Value> values) {
  KJ_REQUIRE(keys.size() == values.size());
  auto paths = kj::heapArray<Path>(keys.size());
  pathsOf(keys, paths);
  auto payloads = kj::heapArray<Payload>(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) payloads[i] = {keys[i], values[i]};
  const TrieUpdate update{state, paths, payloads};

  TrieUpdateForms forms;
  forms.record = kj::heapArray<kj::byte>(sizeOr(walRecordSize(update)));
  encodeWalRecord(update, forms.record);
  forms.cbor = kj::heapArray<kj::byte>(sizeOr(cborSize(update)));
  encodeCbor(update, forms.cbor);
  return forms;
}

}  // namespace ledger::golden
