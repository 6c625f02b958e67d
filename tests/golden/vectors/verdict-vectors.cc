// SPDX-License-Identifier: Apache-2.0
// verify.jsonl: flow-go's verdict on single proofs. Strict verification takes only proofs that
// flow-go takes, and of those the ones whose form is a ledger's.

#include "ledger/proof/batch.h"
#include "ledger/proof/verify.h"
#include "tests/golden/vectors/vector-line.h"

namespace ledger::golden {

void checkVerdict(VectorLine& line) {
  const auto state = RootHash::copyOf(line.bytes("state"));
  const bool valid = line.json().at("valid").get<bool>();

  auto decoded = decodeStandaloneProof(line.bytes("proof"), Strictness::FLOW_GO);
  KJ_IF_MAYBE (error, decoded.tryGet<Error>()) {
    return line.check(!valid, kj::str("a valid proof does not decode: ", error->message));
  }
  const auto& proof = decoded.get<TrieProof>();
  const bool flowGo = verifyProof(state, proof, Strictness::FLOW_GO) == nullptr;
  const bool strict = verifyProof(state, proof, Strictness::STRICT) == nullptr;
  line.check(flowGo == valid, valid ? "flow-go takes this proof" : "flow-go refuses this proof");
  line.check(!strict || valid, "strict verification takes what flow-go refuses");
  if (line.json().value("why", "") == "as proved") {
    line.check(strict, "strict verification refuses a ledger's own proof");
  }
}

}  // namespace ledger::golden
