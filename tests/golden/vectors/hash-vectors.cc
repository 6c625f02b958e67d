// SPDX-License-Identifier: Apache-2.0
// hash.jsonl and keys.jsonl: hashes, canonical forms and paths.

#include "ledger/encoding.h"
#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"
#include "ledger/path-finder.h"
#include "tests/golden/vectors/json-objects.h"
#include "tests/golden/vectors/vector-line.h"

namespace ledger::golden {

void checkHash(VectorLine& line) {
  const auto op = line.text("op");
  auto height = [&line] { return line.json().at("height").get<unsigned>(); };
  auto path = [&line] { return Path::copyOf(line.bytes("path")); };
  auto hash = [&line](const char* field) { return Hash::copyOf(line.bytes(field)); };

  Hash found;
  if (op == "sha3_256") {
    found = hash::sha3(line.bytes("input"));
  } else if (op == "hash_leaf") {
    found = hash::hashLeaf(path(), line.bytes("value"));
  } else if (op == "hash_inter") {
    found = hash::hashInterior(hash("left"), hash("right"));
  } else if (op == "default") {
    found = hash::defaultHash(height());
  } else if (op == "compact_leaf") {
    found = hash::compactLeafHash(path(), line.bytes("value"), height());
  } else {
    return line.check(false, kj::str("unknown operation ", op.c_str()));
  }
  line.checkEqual(found.ptr(), line.bytes("hash"), kj::str(op.c_str()));
}

void checkKey(VectorLine& line) {
  auto parts = keyPartsOf(line, line.json().at("key"));
  auto key = line.keep(encodeKey(parts).get<kj::Array<kj::byte>>());
  line.checkEqual(canonicalForm(key), line.bytes("canonical"), "canonical form");
  line.checkEqual(pathOf(key).ptr(), line.bytes("path"), "path");
  Path batched;
  pathsOf(kj::arrayPtr(&key, 1), kj::arrayPtr(&batched, 1));
  line.checkEqual(batched.ptr(), line.bytes("path"), "path among many");
}

}  // namespace ledger::golden
