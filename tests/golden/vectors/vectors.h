// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs the ledger's hashes, paths, encodings and proof verification over flow-go's golden vectors.
//
// Encodings are tried both ways and both strictly and as flow-go reads them: what flow-go refuses
// must be refused both ways, and what only flow-go takes must be refused strictly and otherwise
// decode to what flow-go decodes.

#include <kj/string.h>
#include <kj/vector.h>

#include <cstdint>

namespace ledger::golden {

struct VectorResult {
  uint64_t passed = 0;              // Single comparisons.
  kj::Vector<kj::String> failures;  // File, line, and what differs.
  kj::Vector<kj::String> skipped;   // Files that the directory does not have.
};

// `directory` holds the .jsonl files. Throws if one cannot be read as what its name says.
VectorResult runVectors(kj::StringPtr directory);

}  // namespace ledger::golden
