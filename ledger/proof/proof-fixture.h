// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests: a trie of two registers, and the proofs of both, made from the definitions alone.

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"
#include "ledger/path-finder.h"
#include "ledger/proof/batch.h"

#include <kj/array.h>
#include <kj/string.h>

#include <algorithm>

namespace ledger {

struct ProofFixture {
  kj::Array<kj::byte> keys[2];  // In the order of their paths.
  kj::Array<kj::byte> values[2];
  kj::Array<kj::byte> interims[2];
  kj::Array<kj::byte> flags;
  TrieProof proofs[2];
  RootHash state;

  ProofFixture() {
    const KeyPart first[] = {{0, kj::StringPtr("A").asBytes()}};
    const KeyPart second[] = {{0, nullptr}, {2, kj::StringPtr("uuid").asBytes()}};
    keys[0] = encodeKey(kj::arrayPtr(first, 1)).get<kj::Array<kj::byte>>();
    keys[1] = encodeKey(kj::arrayPtr(second, 2)).get<kj::Array<kj::byte>>();
    if (pathOf(keys[1]) < pathOf(keys[0])) std::swap(keys[0], keys[1]);
    values[0] = kj::heapArray<kj::byte>(kj::StringPtr("one").asBytes());
    values[1] = kj::heapArray<kj::byte>(kj::StringPtr("two").asBytes());

    const Path paths[] = {pathOf(keys[0]), pathOf(keys[1])};
    unsigned depth = 0;  // Where they part.
    while (paths[0].bit(depth) == paths[1].bit(depth)) ++depth;
    const unsigned height = TRIE_HEIGHT - depth - 1;
    const Hash leaves[] = {hash::compactLeafHash(paths[0], values[0], height),
                           hash::compactLeafHash(paths[1], values[1], height)};
    state = hash::hashInterior(leaves[0], leaves[1]);
    for (unsigned d = depth; d-- > 0;) {
      const Hash& empty = hash::defaultHash(TRIE_HEIGHT - d - 1);
      state = paths[0].bit(d) ? hash::hashInterior(empty, state) : hash::hashInterior(state, empty);
    }
    flags = kj::heapArray<kj::byte>(PROOF_FLAGS_SIZE);
    for (auto& b : flags) b = 0;
    flags[depth / 8] = 0x80 >> depth % 8;
    for (unsigned i = 0; i < 2; ++i) {
      interims[i] = encodeInterims(kj::arrayPtr(&leaves[1 - i], 1));
      proofs[i].steps = depth + 1;
      proofs[i].flags = flags;
      proofs[i].path = paths[i];
      proofs[i].payload = {keys[i], values[i]};
      proofs[i].interims = Interims(interims[i]);
    }
  }
  KJ_DISALLOW_COPY(ProofFixture);

  kj::Array<kj::byte> batch() const { return encodeBatch(kj::arrayPtr(proofs, 2)); }
};

}  // namespace ledger
