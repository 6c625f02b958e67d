// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/vectors/json-objects.h"

#include <kj/vector.h>

namespace ledger::golden {

KeyPart keyPartOf(VectorLine& line, const nlohmann::json& json) {
  return {json.at("type").get<uint16_t>(), line.bytesOf(json.at("value"))};
}

kj::Array<KeyPart> keyPartsOf(VectorLine& line, const nlohmann::json& json) {
  kj::Vector<KeyPart> parts;
  for (const auto& part : json) parts.add(keyPartOf(line, part));
  return parts.releaseAsArray();
}

Payload payloadOf(VectorLine& line, const nlohmann::json& json) {
  const Payload payload = {line.bytesOf(json.at("encoded_key")), line.bytesOf(json.at("value"))};
  auto parts = keyPartsOf(line, json.at("key"));
  line.checkEqual(encodeKey(parts).get<kj::Array<kj::byte>>(), storedForm(payload.key),
                  "payload's key");
  return payload;
}

DecodedTrieUpdate trieUpdateOf(VectorLine& line, const nlohmann::json& json) {
  DecodedTrieUpdate update;
  update.root = RootHash::copyOf(line.bytesOf(json.at("root")));
  kj::Vector<Path> paths;
  for (const auto& path : json.at("paths")) paths.add(Path::copyOf(line.bytesOf(path)));
  update.paths = paths.releaseAsArray();
  kj::Vector<Payload> payloads;
  for (const auto& payload : json.at("payloads")) payloads.add(payloadOf(line, payload));
  update.payloads = payloads.releaseAsArray();
  return update;
}

TrieProof proofOf(VectorLine& line, const nlohmann::json& json) {
  TrieProof proof;
  proof.inclusion = json.at("inclusion").get<bool>() ? Inclusion::PRESENT : Inclusion::ABSENT;
  proof.steps = json.at("steps").get<uint8_t>();
  proof.flags = line.bytesOf(json.at("flags"));
  proof.path = Path::copyOf(line.bytesOf(json.at("path")));
  proof.payload = payloadOf(line, json.at("payload"));
  kj::Vector<Hash> interims;
  for (const auto& hash : json.at("interims")) interims.add(Hash::copyOf(line.bytesOf(hash)));
  proof.interims = Interims(line.keep(encodeInterims(interims)));
  return proof;
}

kj::Array<TrieProof> proofsOf(VectorLine& line, const nlohmann::json& json) {
  kj::Vector<TrieProof> proofs;
  for (const auto& proof : json) proofs.add(proofOf(line, proof));
  return proofs.releaseAsArray();
}

}  // namespace ledger::golden
