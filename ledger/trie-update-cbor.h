// SPDX-License-Identifier: Apache-2.0
#pragma once
// A trie update in CBOR: what flow-go's gRPC reply to a Set carries.
//
// Fields stand in the order in which flow-go declares them, heads are the shortest, lengths are
// definite, and a key without parts is null. An execution node hashes what it decodes from here
// into its execution data, so order and duplicates are part of the content.
//
// Source: RFC 8949; docs/formats.md, "Trie updates in CBOR".

#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/trie-update.h"

#include <kj/array.h>

namespace ledger {

// flow-go's client refuses longer arrays: a Set of more registers cannot be answered in this form.
constexpr uint64_t MAX_CBOR_ELEMENTS = 131072;

// Bytes of the encoding. Errors: BAD_REQUEST if the lists differ in length, BAD_KEY for a malformed
// key. Longer lists than MAX_CBOR_ELEMENTS are encoded: whether to send them is the caller's
// choice.
Result<uint64_t> cborSize(const TrieUpdate& update);

// `out` must be cborSize() long.
void encodeCbor(const TrieUpdate& update, kj::ArrayPtr<kj::byte> out);

// A decoded update: the values are views into the CBOR, the keys are encoded anew.
struct CborTrieUpdate {
  DecodedTrieUpdate update;
  kj::Array<kj::byte> keys;  // What the payloads' keys point into.
};

// Takes what encodeCbor() writes, and null in place of an empty list, as flow-go writes for a nil
// one. Error: BAD_ENCODING for anything else: other orders, longer heads, bytes after the update.
Result<CborTrieUpdate> decodeCbor(kj::ArrayPtr<const kj::byte> bytes);

}  // namespace ledger
