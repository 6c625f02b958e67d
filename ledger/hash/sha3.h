// SPDX-License-Identifier: Apache-2.0
#pragma once
// SHA3-256 (FIPS 202) in terms of the ledger's jobs: many messages, many interior nodes, many leaf
// chains at once, so that an implementation may run independent jobs side by side in vector lanes.
// Every function is a pure function of its arguments.
//
// Source: FIPS 202; the node hashes are flow-go's (docs/formats.md, "Hashes").

#include "ledger/model.h"

namespace ledger::hash {

// The bytes `first` followed by `second`.
struct Message {
  kj::ArrayPtr<const kj::byte> first;
  kj::ArrayPtr<const kj::byte> second;
};

// out[i] = SHA3-256(messages[i]). Sizes must match.
void sha3(kj::ArrayPtr<const Message> messages, kj::ArrayPtr<Hash> out);

// One message.
Hash sha3(kj::ArrayPtr<const kj::byte> message);

// Of a register's leaf at height 0: the key is not covered.
Hash hashLeaf(const Path& path, Value value);

// One interior node.
Hash hashInterior(const Hash& left, const Hash& right);

// *out = hashInterior(*left, *right). Pointers must stay valid during the call; a job's output may
// be one of its own inputs, but no other job's input in the same call.
struct InteriorJob {
  const Hash* left;
  const Hash* right;
  Hash* out;
};
void hashInteriors(kj::ArrayPtr<const InteriorJob> jobs);

// The hash of a leaf as it climbs through empty siblings: from `start`, its hash at height `from`,
// up to the last of `heights`. out[i] becomes the hash at heights[i]. `heights` is ascending, not
// empty, heights[0] >= from, at most TRIE_HEIGHT; heights[0] == from yields `start` itself.
struct ChainJob {
  const Path* path;
  Hash start;
  uint16_t from;
  kj::ArrayPtr<const uint16_t> heights;
  Hash* out;
};
void runChains(kj::ArrayPtr<const ChainJob> jobs);

}  // namespace ledger::hash
