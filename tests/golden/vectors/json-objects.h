// SPDX-License-Identifier: Apache-2.0
#pragma once
// The golden data's JSON as objects of the ledger. Bytes belong to the line they come from; lists
// are owned by what is returned.

#include "ledger/encoding.h"
#include "ledger/proof/batch.h"
#include "ledger/trie-update.h"
#include "tests/golden/vectors/vector-line.h"

#include <kj/array.h>
#include <nlohmann/json.hpp>

namespace ledger::golden {

kj::Array<KeyPart> keyPartsOf(VectorLine& line, const nlohmann::json& json);
KeyPart keyPartOf(VectorLine& line, const nlohmann::json& json);

// Also checks that the payload's key is the encoding of its parts.
Payload payloadOf(VectorLine& line, const nlohmann::json& json);

DecodedTrieUpdate trieUpdateOf(VectorLine& line, const nlohmann::json& json);
TrieProof proofOf(VectorLine& line, const nlohmann::json& json);
kj::Array<TrieProof> proofsOf(VectorLine& line, const nlohmann::json& json);

}  // namespace ledger::golden
