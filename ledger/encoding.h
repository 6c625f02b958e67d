// SPDX-License-Identifier: Apache-2.0
#pragma once
// flow-go's encodings of keys, values and payloads, both ways. Big-endian; decoded objects are
// views into the bytes they were decoded from.
//
// Inside trie updates, proofs, checkpoints and the ledger itself objects have no prefix; a payload
// has one of two layouts, by place. Stand-alone objects have a prefix of version and type.
//
// Source: docs/formats.md, "Keys and payloads".

#include "ledger/byte-cursor.h"
#include "ledger/error.h"
#include "ledger/model.h"

#include <kj/array.h>

namespace ledger {

// What a decoder, or a verifier, takes.
enum class Strictness : uint8_t {
  STRICT,   // Only what an encoder writes.
  FLOW_GO,  // What flow-go takes too: bytes after a complete object, and what is named where it is.
};

// The second part of a prefix. The numbers are flow-go's and on disk.
enum class EntityType : uint8_t {
  KEY_PART = 2,
  KEY = 3,
  VALUE = 4,
  PAYLOAD = 6,
  TRIE_PROOF = 7,
  TRIE_BATCH_PROOF = 8,
  TRIE_UPDATE = 11,
};

constexpr size_t PREFIX_SIZE = 3;  // Version u16, type u8.

void writePrefix(ByteWriter& writer, uint16_t version, EntityType type);

// The version found. Error: BAD_ENCODING if it is over `newest` or the type is another one.
Result<uint16_t> readPrefix(ByteReader& reader, uint16_t newest, EntityType type);

// --- Keys -----------------------------------------------------------------------------------

struct KeyPart {
  uint16_t type;
  kj::ArrayPtr<const kj::byte> value;
};

// Errors: BAD_KEY for more than 65,535 parts, TOO_LARGE for more than MAX_KEY_SIZE bytes.
Result<kj::Array<kj::byte>> encodeKey(kj::ArrayPtr<const KeyPart> parts);

// Zero bytes are the key without parts. Error: BAD_KEY.
Result<kj::Array<KeyPart>> decodeKey(EncodedKey key, Strictness strictness = Strictness::STRICT);

// Null if decodeKey() would take it.
kj::Maybe<Error> validateKey(EncodedKey key);

// The key without parts has two forms, no bytes and `00 00`; only the second may be stored, since
// flow-go cannot read a checkpoint with the first. Other keys come back as they are.
EncodedKey storedForm(EncodedKey key);

// Calls visit(KeyPart) for each part up to the first fault, without allocating.
template <typename Visit>
kj::Maybe<Error> visitParts(EncodedKey key, Strictness strictness, Visit&& visit);

// --- Payloads -------------------------------------------------------------------------------

// The width of the value's length. The numbers are the versions in prefixes.
enum class PayloadLayout : uint8_t {
  V0 = 0,  // u64: trie updates and proofs.
  V1 = 1,  // u32: checkpoints and stand-alone payloads.
};

uint64_t encodedSize(const Payload& payload, PayloadLayout layout);

// Throws if a length does not fit its field: sizes are checked where payloads come in.
void encodePayload(ByteWriter& writer, const Payload& payload, PayloadLayout layout);

// The key is not looked into: validateKey() does that. FLOW_GO: zero bytes (its nil payload) are
// the payload without key and value.
Result<Payload> decodePayload(kj::ArrayPtr<const kj::byte> bytes, PayloadLayout layout,
                              Strictness strictness = Strictness::STRICT);

// --- Stand-alone objects --------------------------------------------------------------------
// Encoders write the newest version. Zero bytes are never an object here.

Result<kj::Array<kj::byte>> encodeStandaloneKey(kj::ArrayPtr<const KeyPart> parts);
Result<kj::Array<KeyPart>> decodeStandaloneKey(kj::ArrayPtr<const kj::byte> bytes,
                                               Strictness strictness = Strictness::STRICT);

// Of a part and of a value every trailing byte belongs to the object.
kj::Array<kj::byte> encodeStandaloneKeyPart(const KeyPart& part);
Result<KeyPart> decodeStandaloneKeyPart(kj::ArrayPtr<const kj::byte> bytes);
kj::Array<kj::byte> encodeStandaloneValue(Value value);
Result<Value> decodeStandaloneValue(kj::ArrayPtr<const kj::byte> bytes);

kj::Array<kj::byte> encodeStandalonePayload(const Payload& payload,
                                            PayloadLayout layout = PayloadLayout::V1);
Result<Payload> decodeStandalonePayload(kj::ArrayPtr<const kj::byte> bytes,
                                        Strictness strictness = Strictness::STRICT);

// --------------------------------------------------------------------------------------------

template <typename Visit>
kj::Maybe<Error> visitParts(EncodedKey key, Strictness strictness, Visit&& visit) {
  if (key.size() == 0) return nullptr;
  ByteReader reader(key);
  const unsigned count = reader.u16();
  for (unsigned i = 0; i < count; ++i) {
    const uint64_t length = reader.u32();
    if (!reader.ok()) break;
    if (length < 2) {
      return makeError(Code::INVALID_ARGUMENT, Reason::BAD_KEY, "part ", i, " of the key has ",
                       length, " bytes; its type alone takes 2");
    }
    const uint16_t type = reader.u16();
    const auto value = reader.bytes(length - 2);
    if (!reader.ok()) break;
    visit(KeyPart{type, value});
  }
  if (!reader.ok()) return reader.shortage("key", Reason::BAD_KEY);
  if (strictness == Strictness::STRICT && reader.remaining() > 0) {
    return reader.surplus("key", Reason::BAD_KEY);
  }
  return nullptr;
}

}  // namespace ledger
