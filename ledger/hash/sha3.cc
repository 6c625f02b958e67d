// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/sha3.h"

#include "ledger/hash/default-table.h"
#include "ledger/hash/keccak.h"

#include <kj/debug.h>

// Jobs of one call are independent. Here they run one after the other; a vector kernel takes the
// same lists and runs as many jobs at a time as it has lanes.

namespace ledger::hash {
namespace {

Hash hashMessage(const Message& message) {
  Sponge sponge;
  sponge.absorb(message.first);
  sponge.absorb(message.second);
  return sponge.squeeze();
}

void runChain(const ChainJob& job, const DefaultTable& defaults) {
  Hash hash = job.start;
  unsigned height = job.from;
  for (size_t i = 0; i < job.heights.size(); ++i) {
    const unsigned target = job.heights[i];
    KJ_REQUIRE(target >= height && target <= TRIE_HEIGHT, "a chain's heights must ascend", height,
               target);
    for (; height < target; ++height) {
      // The node at height + 1 stands at depth TRIE_HEIGHT - height - 1, and that bit chooses.
      const Hash& sibling = defaults[height];
      if (job.path->bit(TRIE_HEIGHT - height - 1)) {
        hashPair(sibling, hash, hash);
      } else {
        hashPair(hash, sibling, hash);
      }
    }
    job.out[i] = hash;
  }
}

}  // namespace

void sha3(kj::ArrayPtr<const Message> messages, kj::ArrayPtr<Hash> out) {
  KJ_REQUIRE(messages.size() == out.size(), "as many hashes as messages", messages.size(),
             out.size());
  for (size_t i = 0; i < messages.size(); ++i) out[i] = hashMessage(messages[i]);
}

Hash sha3(kj::ArrayPtr<const kj::byte> message) {
  return hashMessage({message, nullptr});
}

Hash hashLeaf(const Path& path, Value value) {
  return hashMessage({path.ptr(), value});
}

Hash hashInterior(const Hash& left, const Hash& right) {
  Hash result;
  hashPair(left, right, result);
  return result;
}

void hashInteriors(kj::ArrayPtr<const InteriorJob> jobs) {
  for (const auto& job : jobs) hashPair(*job.left, *job.right, *job.out);
}

void runChains(kj::ArrayPtr<const ChainJob> jobs) {
  const DefaultTable& defaults = defaultTable();
  for (const auto& job : jobs) runChain(job, defaults);
}

}  // namespace ledger::hash
