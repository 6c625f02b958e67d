// SPDX-License-Identifier: Apache-2.0
#pragma once
// A trie update and the log records made of it, in flow-go's encoding, both ways.
//
// A trie update is one Set: the parent's root hash, then paths and payloads in the order of the
// request, duplicates kept. A log record is an operation byte and a trie update, or, in logs of old
// versions of flow-go, a root hash that was deleted.
//
// Source: docs/formats.md, "Trie updates" and "Log records".

#include "ledger/encoding.h"
#include "ledger/error.h"
#include "ledger/model.h"

#include <kj/array.h>
#include <kj/one-of.h>

namespace ledger {

struct TrieUpdate {
  RootHash root;  // Of the parent.
  kj::ArrayPtr<const Path> paths;
  kj::ArrayPtr<const Payload> payloads;  // As many as paths.
};

// A trie update whose lists are owned, while keys and values are views into what was decoded.
struct DecodedTrieUpdate {
  RootHash root;
  kj::Array<Path> paths;
  kj::Array<Payload> payloads;

  TrieUpdate view() const { return {root, paths, payloads}; }
};

// Bytes of the update, and of the log record of it. Errors: BAD_REQUEST if the lists differ in
// length, TOO_LARGE if a count or length does not fit its field.
Result<uint64_t> encodedSize(const TrieUpdate& update);
Result<uint64_t> walRecordSize(const TrieUpdate& update);

// `out` must be as long as the size above. An update without paths can be encoded, but is never
// decoded, as in flow-go; the ledger does not log one.
void encodeTrieUpdate(const TrieUpdate& update, kj::ArrayPtr<kj::byte> out);
void encodeWalRecord(const TrieUpdate& update, kj::ArrayPtr<kj::byte> out);

// Error: BAD_ENCODING. FLOW_GO also takes what is found in no log that flow-go's ledger wrote, but
// what its decoder reads: bytes after the update or inside a payload's length behind the payload,
// payloads of zero bytes, and a count of zero that is followed by a path length.
Result<DecodedTrieUpdate> decodeTrieUpdate(kj::ArrayPtr<const kj::byte> bytes,
                                           Strictness strictness = Strictness::STRICT);

// Written by old versions of flow-go. Replay passes over it.
struct WalDelete {
  RootHash root;
};

kj::Array<kj::byte> encodeWalRecord(const WalDelete& deletion);

using LogRecord = kj::OneOf<DecodedTrieUpdate, WalDelete>;

// As decodeTrieUpdate().
Result<LogRecord> decodeWalRecord(kj::ArrayPtr<const kj::byte> bytes,
                                  Strictness strictness = Strictness::STRICT);

}  // namespace ledger
