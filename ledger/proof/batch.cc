// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/batch.h"

#include <kj/debug.h>

namespace ledger {
namespace {

constexpr uint16_t PROOF_VERSION = 0;

constexpr uint8_t INCLUDED = 0x80;

// Inclusion, steps, count of flags; path with its length; length of the payload; count of interims.
constexpr uint64_t FIXED_SIZE = 3 + 2 + Path::SIZE + 8 + 1;
constexpr uint64_t LENGTH_SIZE = 8;  // Of a proof in a batch.

Error malformed(kj::String message) {
  return {Code::INVALID_ARGUMENT, Reason::BAD_ENCODING, kj::mv(message)};
}

}  // namespace

kj::Array<kj::byte> encodeInterims(kj::ArrayPtr<const Hash> hashes) {
  auto result = kj::heapArray<kj::byte>(hashes.size() * Interims::ENCODED_SIZE);
  ByteWriter writer(result);
  for (const auto& hash : hashes) {
    writer.u16(Hash::SIZE);
    writer.bytes(hash.ptr());
  }
  return result;
}

uint64_t encodedSize(const TrieProof& proof) {
  return FIXED_SIZE + proof.flags.size() + encodedSize(proof.payload, PayloadLayout::V0) +
         proof.interims.bytes().size();
}

void encodeProof(ByteWriter& writer, const TrieProof& proof) {
  KJ_REQUIRE(proof.flags.size() <= UINT8_MAX, "too many flags for a proof", proof.flags.size());
  KJ_REQUIRE(proof.interims.size() <= UINT8_MAX, "too many interims for a proof",
             proof.interims.size());
  writer.u8(proof.inclusion == Inclusion::PRESENT ? INCLUDED : 0);
  writer.u8(proof.steps);
  writer.u8(proof.flags.size());
  writer.bytes(proof.flags);
  writer.u16(Path::SIZE);
  writer.bytes(proof.path.ptr());
  writer.u64(encodedSize(proof.payload, PayloadLayout::V0));
  encodePayload(writer, proof.payload, PayloadLayout::V0);
  writer.u8(proof.interims.size());
  writer.bytes(proof.interims.bytes());
}

Result<TrieProof> decodeProof(kj::ArrayPtr<const kj::byte> bytes, Strictness strictness) {
  ByteReader reader(bytes);
  TrieProof proof;
  const unsigned inclusion = reader.u8();
  proof.steps = reader.u8();
  proof.flags = reader.bytes(reader.u8());
  const unsigned pathSize = reader.u16();
  if (!reader.ok()) return reader.shortage("proof");
  if (pathSize != Path::SIZE) {
    return malformed(kj::str("a path of ", pathSize, " bytes instead of 32"));
  }
  if (strictness == Strictness::STRICT && inclusion != INCLUDED && inclusion != 0) {
    return malformed(kj::str("an inclusion byte of ", inclusion, " instead of 128 or 0"));
  }
  proof.inclusion = inclusion & INCLUDED ? Inclusion::PRESENT : Inclusion::ABSENT;

  auto path = reader.bytes(Path::SIZE);
  auto payloadBytes = reader.bytes(reader.u64());
  if (!reader.ok()) return reader.shortage("proof");
  proof.path = Path::copyOf(path);
  auto payload = decodePayload(payloadBytes, PayloadLayout::V0, strictness);
  KJ_IF_MAYBE (error, payload.tryGet<Error>()) {
    return kj::mv(*error);
  }
  proof.payload = payload.get<Payload>();

  const unsigned count = reader.u8();
  auto interims = reader.bytes(count * Interims::ENCODED_SIZE);
  if (!reader.ok()) return reader.shortage("interims");
  ByteReader lengths(interims);
  for (unsigned i = 0; i < count; ++i) {
    const unsigned size = lengths.u16();
    if (size != Hash::SIZE) {
      return malformed(kj::str("interim ", i, " of ", size, " bytes instead of 32"));
    }
    lengths.bytes(Hash::SIZE);
  }
  proof.interims = Interims(interims);
  if (strictness == Strictness::STRICT && reader.remaining() > 0) return reader.surplus("proof");
  return proof;
}

kj::Array<kj::byte> encodeStandaloneProof(const TrieProof& proof) {
  auto result = kj::heapArray<kj::byte>(PREFIX_SIZE + encodedSize(proof));
  ByteWriter writer(result);
  writePrefix(writer, PROOF_VERSION, EntityType::TRIE_PROOF);
  encodeProof(writer, proof);
  return result;
}

Result<TrieProof> decodeStandaloneProof(kj::ArrayPtr<const kj::byte> bytes, Strictness strictness) {
  ByteReader reader(bytes);
  auto version = readPrefix(reader, PROOF_VERSION, EntityType::TRIE_PROOF);
  KJ_IF_MAYBE (error, version.tryGet<Error>()) {
    return kj::mv(*error);
  }
  return decodeProof(reader.rest(), strictness);
}

kj::Array<kj::byte> encodeBatch(kj::ArrayPtr<const TrieProof> proofs) {
  KJ_REQUIRE(proofs.size() <= UINT32_MAX, "too many proofs for a batch", proofs.size());
  uint64_t size = PREFIX_SIZE + 4;
  for (const auto& proof : proofs) size += LENGTH_SIZE + encodedSize(proof);
  auto result = kj::heapArray<kj::byte>(size);
  ByteWriter writer(result);
  writePrefix(writer, PROOF_VERSION, EntityType::TRIE_BATCH_PROOF);
  writer.u32(proofs.size());
  for (const auto& proof : proofs) {
    writer.u64(encodedSize(proof));
    encodeProof(writer, proof);
  }
  return result;
}

Result<kj::Array<TrieProof>> decodeBatch(kj::ArrayPtr<const kj::byte> bytes,
                                         Strictness strictness) {
  ByteReader reader(bytes);
  auto version = readPrefix(reader, PROOF_VERSION, EntityType::TRIE_BATCH_PROOF);
  KJ_IF_MAYBE (error, version.tryGet<Error>()) {
    return kj::mv(*error);
  }
  const uint64_t count = reader.u32();
  if (!reader.ok()) return reader.shortage("batch proof");
  // Nothing is allocated for a count that the bytes cannot hold.
  if (count > reader.remaining() / (LENGTH_SIZE + FIXED_SIZE)) {
    return malformed(kj::str("a batch of ", count, " proofs in ", reader.remaining(), " bytes"));
  }
  auto proofs = kj::heapArray<TrieProof>(count);
  for (size_t i = 0; i < count; ++i) {
    auto body = reader.bytes(reader.u64());
    if (!reader.ok()) return reader.shortage(kj::str("proof ", i));
    auto proof = decodeProof(body, strictness);
    KJ_IF_MAYBE (error, proof.tryGet<Error>()) {
      return malformed(kj::str("proof ", i, ": ", error->message));
    }
    proofs[i] = proof.get<TrieProof>();
  }
  if (strictness == Strictness::STRICT && reader.remaining() > 0) {
    return reader.surplus("batch proof");
  }
  return proofs;
}

}  // namespace ledger
