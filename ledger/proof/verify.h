// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whether a proof holds for a state. Needs no trie: only hashing and the encodings.
//
// STRICT is what a client should trust. FLOW_GO gives flow-go's verdict, which is about the value
// alone: it leaves out the inclusion flag, the payload's key, interims in front of those it needs,
// and flags at or below the leaf. Neither reads out of bounds where flow-go panics; such a proof
// does not hold.
//
// The proof's bytes must not change while it is verified, nor for as long as its result is used:
// they must be private memory. What lies in memory that a peer can write, a view of a reply in a
// ledgerd's arena for one, is copied first and the copy verified. Bytes that change nevertheless
// make the verdict worthless, but nothing is read out of bounds.
//
// Source: docs/formats.md, "Verifying a proof".

#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/proof/batch.h"

#include <kj/array.h>

namespace ledger {

// What a proof that holds has proven. `key` is the stored one; it and `value` are empty for an
// unallocated register, and views into the proof: proven only while its bytes are what they were.
struct ProvenRegister {
  Path path;
  EncodedKey key;
  Value value;
};

// Null if it holds. STRICT also requires: inclusion, 32 flag bytes, no flag at or below the leaf,
// every interim used, and for a payload with a key that the key is well-formed and its path is the
// proof's. Errors: INVALID_ARGUMENT for a proof that contradicts itself, FAILED_PRECONDITION for
// one that leads to another state. Throws if the proof's bytes change meanwhile and it notices.
kj::Maybe<Error> verifyProof(const RootHash& state, const TrieProof& proof, Strictness strictness);

// The proven registers in the order of the proofs, views into `batch`. STRICT also requires that
// nothing follows the batch and that paths ascend (equal ones may repeat). The message names the
// proof by its index.
Result<kj::Array<ProvenRegister>> verifyBatch(const RootHash& state,
                                              kj::ArrayPtr<const kj::byte> batch,
                                              Strictness strictness);

// Null if the proven paths are those of `keys`, each as often as it is there. A key is compared by
// its path: keys that share a path are one register. Errors: INVALID_ARGUMENT for a
// malformed key, FAILED_PRECONDITION if they differ; the message names a path.
kj::Maybe<Error> coversExactly(kj::ArrayPtr<const ProvenRegister> proven,
                               kj::ArrayPtr<const EncodedKey> keys);

}  // namespace ledger
