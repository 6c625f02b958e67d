// SPDX-License-Identifier: Apache-2.0
// encodings.jsonl, bad-encodings.jsonl and odd-encodings.jsonl: each kind of object to its bytes,
// and from its bytes back to them.
//
// Of the odd ones, none is in a file or an answer that flow-go wrote: its encoders put nothing
// after an object, and write no nil ones. So whoever opens files or talks to clients decodes
// strictly, and FLOW_GO, which takes what flow-go's decoder takes, is for those who ask what
// flow-go would say. flow-go's nil objects, encoded as no bytes at all, do not exist here.

#include "ledger/encoding.h"
#include "ledger/proof/batch.h"
#include "ledger/trie-update-cbor.h"
#include "ledger/trie-update.h"
#include "tests/golden/vectors/json-objects.h"
#include "tests/golden/vectors/vector-line.h"

namespace ledger::golden {
namespace {

using Bytes = kj::Array<kj::byte>;
using View = kj::ArrayPtr<const kj::byte>;

Bytes encodedPayload(const Payload& payload, PayloadLayout layout) {
  auto out = kj::heapArray<kj::byte>(encodedSize(payload, layout));
  ByteWriter writer(out);
  encodePayload(writer, payload, layout);
  return out;
}

Bytes encodedUpdate(const TrieUpdate& update) {
  auto out = kj::heapArray<kj::byte>(encodedSize(update).get<uint64_t>());
  encodeTrieUpdate(update, out);
  return out;
}

Bytes encodedRecord(const TrieUpdate& update) {
  auto out = kj::heapArray<kj::byte>(walRecordSize(update).get<uint64_t>());
  encodeWalRecord(update, out);
  return out;
}

Bytes encodedCbor(const TrieUpdate& update) {
  auto out = kj::heapArray<kj::byte>(cborSize(update).get<uint64_t>());
  encodeCbor(update, out);
  return out;
}

// The error passed on, or `encode` of what was decoded.
template <typename T, typename Encode>
Result<Bytes> then(Result<T>&& decoded, Encode&& encode) {
  KJ_IF_MAYBE (error, decoded.template tryGet<Error>()) {
    return kj::mv(*error);
  }
  return Bytes(encode(decoded.template get<T>()));
}

// One kind of object: from its JSON to bytes, and from bytes to the same again.
struct Kind {
  const char* name;
  Bytes (*encode)(VectorLine& line, const nlohmann::json& object);
  Result<Bytes> (*reencode)(View bytes, Strictness strictness);
};

template <PayloadLayout LAYOUT>
constexpr Kind payloadKind(const char* name) {
  return {name,
          [](VectorLine& line, const nlohmann::json& object) {
            return encodedPayload(payloadOf(line, object), LAYOUT);
          },
          [](View bytes, Strictness strictness) {
            return then(decodePayload(bytes, LAYOUT, strictness),
                        [](const Payload& payload) { return encodedPayload(payload, LAYOUT); });
          }};
}

const Kind KINDS[] = {
    {"key",
     [](VectorLine& line, const nlohmann::json& object) {
       return Bytes(encodeStandaloneKey(keyPartsOf(line, object)).get<Bytes>());
     },
     [](View bytes, Strictness strictness) {
       return then(decodeStandaloneKey(bytes, strictness), [](const kj::Array<KeyPart>& parts) {
         return encodeStandaloneKey(parts).get<Bytes>();
       });
     }},
    {"key_part",
     [](VectorLine& line, const nlohmann::json& object) {
       return encodeStandaloneKeyPart(keyPartOf(line, object));
     },
     [](View bytes, Strictness) {
       return then(decodeStandaloneKeyPart(bytes), encodeStandaloneKeyPart);
     }},
    {"value",
     [](VectorLine& line, const nlohmann::json& object) {
       return encodeStandaloneValue(line.bytesOf(object));
     },
     [](View bytes, Strictness) {
       return then(decodeStandaloneValue(bytes), encodeStandaloneValue);
     }},
    {"payload",
     [](VectorLine& line, const nlohmann::json& object) {
       return encodeStandalonePayload(payloadOf(line, object));
     },
     [](View bytes, Strictness strictness) {
       return then(decodeStandalonePayload(bytes, strictness),
                   [](const Payload& payload) { return encodeStandalonePayload(payload); });
     }},
    payloadKind<PayloadLayout::V0>("payload_v0"),
    payloadKind<PayloadLayout::V1>("payload_v1"),
    {"trie_update",
     [](VectorLine& line, const nlohmann::json& object) {
       return encodedUpdate(trieUpdateOf(line, object).view());
     },
     [](View bytes, Strictness strictness) {
       return then(decodeTrieUpdate(bytes, strictness),
                   [](const DecodedTrieUpdate& update) { return encodedUpdate(update.view()); });
     }},
    {"trie_update_cbor",
     [](VectorLine& line, const nlohmann::json& object) {
       return encodedCbor(trieUpdateOf(line, object).view());
     },
     [](View bytes, Strictness) {
       return then(decodeCbor(bytes), [](const CborTrieUpdate& decoded) {
         return encodedCbor(decoded.update.view());
       });
     }},
    {"wal_record",
     [](VectorLine& line, const nlohmann::json& object) {
       if (object.at("operation") == "delete") {
         return encodeWalRecord(WalDelete{RootHash::copyOf(line.bytesOf(object.at("root")))});
       }
       return encodedRecord(trieUpdateOf(line, object.at("trie_update")).view());
     },
     [](View bytes, Strictness strictness) {
       return then(decodeWalRecord(bytes, strictness), [](const LogRecord& record) {
         if (record.is<WalDelete>()) return encodeWalRecord(record.get<WalDelete>());
         return encodedRecord(record.get<DecodedTrieUpdate>().view());
       });
     }},
    {"trie_proof",
     [](VectorLine& line, const nlohmann::json& object) {
       return encodeStandaloneProof(proofOf(line, object));
     },
     [](View bytes, Strictness strictness) {
       return then(decodeStandaloneProof(bytes, strictness), encodeStandaloneProof);
     }},
    {"trie_batch_proof",
     [](VectorLine& line, const nlohmann::json& object) {
       return encodeBatch(proofsOf(line, object.at("proofs")));
     },
     [](View bytes, Strictness strictness) {
       return then(decodeBatch(bytes, strictness),
                   [](const kj::Array<TrieProof>& proofs) { return encodeBatch(proofs); });
     }},
};

// Null, and a failure, if the line's kind is unknown.
const Kind* kindOf(VectorLine& line) {
  const auto name = line.text("kind");
  for (const auto& kind : KINDS) {
    if (name == kind.name) return &kind;
  }
  line.check(false, kj::str("unknown kind ", name.c_str()));
  return nullptr;
}

kj::StringPtr nameOf(Strictness strictness) {
  return strictness == Strictness::STRICT ? "decoded strictly" : "decoded as by flow-go";
}

void checkReencoded(VectorLine& line, const Kind& kind, Strictness strictness, View expected) {
  auto again = kind.reencode(line.bytes("hex"), strictness);
  KJ_IF_MAYBE (error, again.tryGet<Error>()) {
    return line.check(false, kj::str(kind.name, " ", nameOf(strictness), ": ", error->message));
  }
  line.checkEqual(again.get<Bytes>(), expected, kj::str(kind.name, " ", nameOf(strictness)));
}

void checkRefused(VectorLine& line, const Kind& kind, Strictness strictness) {
  line.check(kind.reencode(line.bytes("hex"), strictness).is<Error>(),
             kj::str(kind.name, " ", nameOf(strictness), " should be refused"));
}

}  // namespace

void checkEncoding(VectorLine& line) {
  const Kind* kind = kindOf(line);
  if (kind == nullptr) return;
  line.checkEqual(kind->encode(line, line.json().at("object")), line.bytes("hex"),
                  kj::str(kind->name, " encoded"));
  const char* expected = line.json().contains("reencoded") ? "reencoded" : "hex";
  for (auto strictness : {Strictness::STRICT, Strictness::FLOW_GO}) {
    if (line.json().contains("decode_error")) {
      checkRefused(line, *kind, strictness);
    } else {
      checkReencoded(line, *kind, strictness, line.bytes(expected));
    }
  }
}

void checkBadEncoding(VectorLine& line) {
  const Kind* kind = kindOf(line);
  if (kind == nullptr) return;
  checkRefused(line, *kind, Strictness::STRICT);
  checkRefused(line, *kind, Strictness::FLOW_GO);
}

void checkOddEncoding(VectorLine& line) {
  const Kind* kind = kindOf(line);
  if (kind == nullptr) return;
  const auto bytes = line.bytes("hex");
  const auto reencoded = line.bytes("reencoded");

  if (bytes.size() == 0) {  // A nil object.
    checkRefused(line, *kind, Strictness::STRICT);
    auto again = kind->reencode(bytes, Strictness::FLOW_GO);
    KJ_IF_MAYBE (payload, again.tryGet<Bytes>()) {
      for (auto b : *payload) line.check(b == 0, "nil must read as no key and no value");
    }
    return;
  }
  if (bytes == reencoded) {  // Odd only by what it says; its form is that of an encoder.
    checkReencoded(line, *kind, Strictness::STRICT, reencoded);
  } else {
    checkRefused(line, *kind, Strictness::STRICT);
  }
  checkReencoded(line, *kind, Strictness::FLOW_GO, reencoded);
}

}  // namespace ledger::golden
