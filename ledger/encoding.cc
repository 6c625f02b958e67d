// SPDX-License-Identifier: Apache-2.0
#include "ledger/encoding.h"

#include <kj/debug.h>
#include <kj/vector.h>

namespace ledger {
namespace {

constexpr uint16_t KEY_PART_VERSION = 1;
constexpr uint16_t KEY_VERSION = 1;
constexpr uint16_t VALUE_VERSION = 1;
constexpr uint16_t PAYLOAD_VERSION = 1;

constexpr uint64_t MAX_PARTS = UINT16_MAX;
constexpr uint64_t PART_OVERHEAD = 6;  // Length u32 and type u16.

constexpr kj::byte EMPTY_KEY[] = {0, 0};

// Of the key without prefix. Checks what encodeKey() promises to check.
Result<uint64_t> keySize(kj::ArrayPtr<const KeyPart> parts) {
  if (parts.size() > MAX_PARTS) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_KEY, "a key of ", parts.size(),
                     " parts; its encoding counts at most ", MAX_PARTS);
  }
  uint64_t size = 2;
  for (const auto& part : parts) {
    size += PART_OVERHEAD;
    if (size > MAX_KEY_SIZE || part.value.size() > MAX_KEY_SIZE - size) {
      return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "a key of more than ",
                       MAX_KEY_SIZE, " bytes");
    }
    size += part.value.size();
  }
  return size;
}

void writeKey(ByteWriter& writer, kj::ArrayPtr<const KeyPart> parts) {
  writer.u16(parts.size());
  for (const auto& part : parts) {
    writer.u32(part.value.size() + 2);
    writer.u16(part.type);
    writer.bytes(part.value);
  }
}

}  // namespace

void writePrefix(ByteWriter& writer, uint16_t version, EntityType type) {
  writer.u16(version);
  writer.u8(uint8_t(type));
}

Result<uint16_t> readPrefix(ByteReader& reader, uint16_t newest, EntityType type) {
  const uint16_t version = reader.u16();
  const uint8_t found = reader.u8();
  if (!reader.ok()) return reader.shortage("prefix");
  if (version > newest) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_ENCODING, "encoding version ", version,
                     "; at most ", newest, " is known for type ", unsigned(type));
  }
  if (found != uint8_t(type)) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_ENCODING, "an object of type ",
                     unsigned(found), " where type ", unsigned(type), " is expected");
  }
  return version;
}

Result<kj::Array<kj::byte>> encodeKey(kj::ArrayPtr<const KeyPart> parts) {
  auto size = keySize(parts);
  KJ_IF_MAYBE (error, size.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto result = kj::heapArray<kj::byte>(size.get<uint64_t>());
  ByteWriter writer(result);
  writeKey(writer, parts);
  return result;
}

Result<kj::Array<KeyPart>> decodeKey(EncodedKey key, Strictness strictness) {
  kj::Vector<KeyPart> parts;
  KJ_IF_MAYBE (error, visitParts(key, strictness, [&](KeyPart part) { parts.add(part); })) {
    return kj::mv(*error);
  }
  return parts.releaseAsArray();
}

kj::Maybe<Error> validateKey(EncodedKey key) {
  return visitParts(key, Strictness::STRICT, [](KeyPart) {});
}

EncodedKey storedForm(EncodedKey key) {
  if (key.size() > 0) return key;
  return EncodedKey(EMPTY_KEY, sizeof(EMPTY_KEY));
}

uint64_t encodedSize(const Payload& payload, PayloadLayout layout) {
  return 4 + payload.key.size() + (layout == PayloadLayout::V0 ? 8 : 4) + payload.value.size();
}

void encodePayload(ByteWriter& writer, const Payload& payload, PayloadLayout layout) {
  KJ_REQUIRE(payload.key.size() <= UINT32_MAX, "the key does not fit its length field",
             payload.key.size());
  writer.u32(payload.key.size());
  writer.bytes(payload.key);
  if (layout == PayloadLayout::V0) {
    writer.u64(payload.value.size());
  } else {
    KJ_REQUIRE(payload.value.size() <= UINT32_MAX, "the value does not fit its length field",
               payload.value.size());
    writer.u32(payload.value.size());
  }
  writer.bytes(payload.value);
}

Result<Payload> decodePayload(kj::ArrayPtr<const kj::byte> bytes, PayloadLayout layout,
                              Strictness strictness) {
  if (bytes.size() == 0 && strictness == Strictness::FLOW_GO) return Payload();
  ByteReader reader(bytes);
  Payload payload;
  payload.key = reader.bytes(reader.u32());
  payload.value = reader.bytes(layout == PayloadLayout::V0 ? reader.u64() : reader.u32());
  if (!reader.ok()) return reader.shortage("payload");
  if (strictness == Strictness::STRICT && reader.remaining() > 0) return reader.surplus("payload");
  return payload;
}

Result<kj::Array<kj::byte>> encodeStandaloneKey(kj::ArrayPtr<const KeyPart> parts) {
  auto size = keySize(parts);
  KJ_IF_MAYBE (error, size.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto result = kj::heapArray<kj::byte>(PREFIX_SIZE + size.get<uint64_t>());
  ByteWriter writer(result);
  writePrefix(writer, KEY_VERSION, EntityType::KEY);
  writeKey(writer, parts);
  return result;
}

Result<kj::Array<KeyPart>> decodeStandaloneKey(kj::ArrayPtr<const kj::byte> bytes,
                                               Strictness strictness) {
  ByteReader reader(bytes);
  auto version = readPrefix(reader, KEY_VERSION, EntityType::KEY);
  KJ_IF_MAYBE (error, version.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto key = reader.rest();
  if (key.size() == 0) {  // Without prefix this would be the key without parts.
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_KEY, "a key ends after its prefix");
  }
  return decodeKey(key, strictness);
}

kj::Array<kj::byte> encodeStandaloneKeyPart(const KeyPart& part) {
  auto result = kj::heapArray<kj::byte>(PREFIX_SIZE + 2 + part.value.size());
  ByteWriter writer(result);
  writePrefix(writer, KEY_PART_VERSION, EntityType::KEY_PART);
  writer.u16(part.type);
  writer.bytes(part.value);
  return result;
}

Result<KeyPart> decodeStandaloneKeyPart(kj::ArrayPtr<const kj::byte> bytes) {
  ByteReader reader(bytes);
  auto version = readPrefix(reader, KEY_PART_VERSION, EntityType::KEY_PART);
  KJ_IF_MAYBE (error, version.tryGet<Error>()) {
    return kj::mv(*error);
  }
  KeyPart part;
  part.type = reader.u16();
  part.value = reader.rest();
  if (!reader.ok()) return reader.shortage("key part");
  return part;
}

kj::Array<kj::byte> encodeStandaloneValue(Value value) {
  auto result = kj::heapArray<kj::byte>(PREFIX_SIZE + value.size());
  ByteWriter writer(result);
  writePrefix(writer, VALUE_VERSION, EntityType::VALUE);
  writer.bytes(value);
  return result;
}

Result<Value> decodeStandaloneValue(kj::ArrayPtr<const kj::byte> bytes) {
  ByteReader reader(bytes);
  auto version = readPrefix(reader, VALUE_VERSION, EntityType::VALUE);
  KJ_IF_MAYBE (error, version.tryGet<Error>()) {
    return kj::mv(*error);
  }
  return Value(reader.rest());
}

kj::Array<kj::byte> encodeStandalonePayload(const Payload& payload, PayloadLayout layout) {
  auto result = kj::heapArray<kj::byte>(PREFIX_SIZE + encodedSize(payload, layout));
  ByteWriter writer(result);
  writePrefix(writer, uint16_t(layout), EntityType::PAYLOAD);
  encodePayload(writer, payload, layout);
  return result;
}

Result<Payload> decodeStandalonePayload(kj::ArrayPtr<const kj::byte> bytes, Strictness strictness) {
  ByteReader reader(bytes);
  auto version = readPrefix(reader, PAYLOAD_VERSION, EntityType::PAYLOAD);
  KJ_IF_MAYBE (error, version.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto body = reader.rest();
  if (body.size() == 0) {  // Without prefix flow-go would take this for a nil payload.
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_ENCODING,
                     "a payload ends after its prefix");
  }
  return decodePayload(body, PayloadLayout(version.get<uint16_t>()), strictness);
}

}  // namespace ledger
