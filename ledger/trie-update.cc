// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie-update.h"

#include <kj/debug.h>

namespace ledger {
namespace {

constexpr uint16_t TRIE_UPDATE_VERSION = 0;

// The operation of a log record. On disk.
constexpr uint8_t WAL_UPDATE = 1;
constexpr uint8_t WAL_DELETE = 2;

constexpr uint64_t ROOT_FIELD = 2 + Hash::SIZE;  // Length u16, hash.
constexpr uint64_t MIN_PAYLOAD_FIELD = 4;        // Its length.

Error malformed(kj::String message) {
  return {Code::INVALID_ARGUMENT, Reason::BAD_ENCODING, kj::mv(message)};
}

// The length of a root hash or path: anything but 32 is refused.
kj::Maybe<Error> read32(ByteReader& reader, kj::StringPtr what) {
  const unsigned size = reader.u16();
  if (!reader.ok()) return reader.shortage(what);
  if (size != 32) return malformed(kj::str("a ", what, " of ", size, " bytes instead of 32"));
  return nullptr;
}

Result<RootHash> readRoot(ByteReader& reader) {
  KJ_IF_MAYBE (error, read32(reader, "root hash")) {
    return kj::mv(*error);
  }
  auto bytes = reader.bytes(Hash::SIZE);
  if (!reader.ok()) return reader.shortage("root hash");
  return RootHash::copyOf(bytes);
}

void writeTrieUpdate(ByteWriter& writer, const TrieUpdate& update) {
  writePrefix(writer, TRIE_UPDATE_VERSION, EntityType::TRIE_UPDATE);
  writer.u16(Hash::SIZE);
  writer.bytes(update.root.ptr());
  writer.u32(update.paths.size());
  if (update.paths.size() == 0) return;
  writer.u16(Path::SIZE);
  for (const auto& path : update.paths) writer.bytes(path.ptr());
  for (const auto& payload : update.payloads) {
    writer.u32(encodedSize(payload, PayloadLayout::V0));
    encodePayload(writer, payload, PayloadLayout::V0);
  }
}

}  // namespace

Result<uint64_t> encodedSize(const TrieUpdate& update) {
  if (update.paths.size() != update.payloads.size()) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, "a trie update of ",
                     update.paths.size(), " paths and ", update.payloads.size(), " payloads");
  }
  if (update.paths.size() > UINT32_MAX) {
    return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "a trie update of ",
                     update.paths.size(), " paths; its encoding counts at most ", UINT32_MAX);
  }
  uint64_t size = PREFIX_SIZE + ROOT_FIELD + 4;
  if (update.paths.size() > 0) size += 2;
  for (const auto& payload : update.payloads) {
    const bool fits = payload.key.size() <= UINT32_MAX && payload.value.size() <= UINT32_MAX &&
                      encodedSize(payload, PayloadLayout::V0) <= UINT32_MAX;
    if (!fits) {
      return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "a payload with a key of ",
                       payload.key.size(), " and a value of ", payload.value.size(),
                       " bytes; its encoding holds at most ", UINT32_MAX, " together");
    }
    // At most 2^32 times 2^32 + 36: no overflow.
    size += Path::SIZE + MIN_PAYLOAD_FIELD + encodedSize(payload, PayloadLayout::V0);
  }
  return size;
}

Result<uint64_t> walRecordSize(const TrieUpdate& update) {
  auto size = encodedSize(update);
  KJ_IF_MAYBE (error, size.tryGet<Error>()) {
    return kj::mv(*error);
  }
  return 1 + size.get<uint64_t>();
}

void encodeTrieUpdate(const TrieUpdate& update, kj::ArrayPtr<kj::byte> out) {
  ByteWriter writer(out);
  writeTrieUpdate(writer, update);
  KJ_REQUIRE(writer.remaining() == 0, "a trie update is shorter than its buffer",
             writer.remaining());
}

void encodeWalRecord(const TrieUpdate& update, kj::ArrayPtr<kj::byte> out) {
  ByteWriter writer(out);
  writer.u8(WAL_UPDATE);
  writeTrieUpdate(writer, update);
  KJ_REQUIRE(writer.remaining() == 0, "a log record is shorter than its buffer",
             writer.remaining());
}

Result<DecodedTrieUpdate> decodeTrieUpdate(kj::ArrayPtr<const kj::byte> bytes,
                                           Strictness strictness) {
  ByteReader reader(bytes);
  auto version = readPrefix(reader, TRIE_UPDATE_VERSION, EntityType::TRIE_UPDATE);
  KJ_IF_MAYBE (error, version.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto root = readRoot(reader);
  KJ_IF_MAYBE (error, root.tryGet<Error>()) {
    return kj::mv(*error);
  }
  DecodedTrieUpdate update;
  update.root = root.get<RootHash>();

  const uint64_t count = reader.u32();
  if (!reader.ok()) return reader.shortage("trie update");
  if (count == 0) {
    if (strictness == Strictness::STRICT) return malformed(kj::str("a trie update without paths"));
    reader.u16();
    if (!reader.ok()) return reader.shortage("path length");
    return update;
  }
  KJ_IF_MAYBE (error, read32(reader, "path")) {
    return kj::mv(*error);
  }

  // Each path has its bytes and at least the length of its payload: nothing is allocated for a
  // count that the bytes cannot hold.
  if (count > reader.remaining() / (Path::SIZE + MIN_PAYLOAD_FIELD)) {
    return malformed(kj::str("a trie update of ", count, " paths with ", reader.remaining(),
                             " bytes for them and their payloads"));
  }
  update.paths = kj::heapArray<Path>(count);
  for (auto& path : update.paths) path = Path::copyOf(reader.bytes(Path::SIZE));
  update.payloads = kj::heapArray<Payload>(count);
  for (auto& payload : update.payloads) {
    auto body = reader.bytes(reader.u32());
    if (!reader.ok()) return reader.shortage("payload");
    auto decoded = decodePayload(body, PayloadLayout::V0, strictness);
    KJ_IF_MAYBE (error, decoded.tryGet<Error>()) {
      return kj::mv(*error);
    }
    payload = decoded.get<Payload>();
  }
  if (strictness == Strictness::STRICT && reader.remaining() > 0) {
    return reader.surplus("trie update");
  }
  return update;
}

kj::Array<kj::byte> encodeWalRecord(const WalDelete& deletion) {
  auto result = kj::heapArray<kj::byte>(1 + ROOT_FIELD);
  ByteWriter writer(result);
  writer.u8(WAL_DELETE);
  writer.u16(Hash::SIZE);
  writer.bytes(deletion.root.ptr());
  return result;
}

Result<LogRecord> decodeWalRecord(kj::ArrayPtr<const kj::byte> bytes, Strictness strictness) {
  ByteReader reader(bytes);
  const unsigned operation = reader.u8();
  if (!reader.ok()) return reader.shortage("log record");
  if (operation == WAL_UPDATE) {
    auto update = decodeTrieUpdate(reader.rest(), strictness);
    KJ_IF_MAYBE (error, update.tryGet<Error>()) {
      return kj::mv(*error);
    }
    return LogRecord(kj::mv(update.get<DecodedTrieUpdate>()));
  }
  if (operation == WAL_DELETE) {
    auto root = readRoot(reader);
    KJ_IF_MAYBE (error, root.tryGet<Error>()) {
      return kj::mv(*error);
    }
    if (strictness == Strictness::STRICT && reader.remaining() > 0) {
      return reader.surplus("log record");
    }
    return LogRecord(WalDelete{root.get<RootHash>()});
  }
  return malformed(kj::str("a log record with operation ", operation));
}

}  // namespace ledger
