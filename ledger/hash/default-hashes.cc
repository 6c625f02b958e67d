// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/default-hashes.h"

#include "ledger/hash/default-table.h"
#include "ledger/hash/sha3.h"

#include <kj/debug.h>

namespace ledger::hash {

const Hash& defaultHash(unsigned height) {
  KJ_REQUIRE(height <= TRIE_HEIGHT, "no such height in a trie", height);
  return defaultTable()[height];
}

Hash compactLeafHash(const Path& path, Value value, unsigned height) {
  if (value.size() == 0) return defaultHash(height);
  KJ_REQUIRE(height <= TRIE_HEIGHT, "no such height in a trie", height);

  const uint16_t target = height;
  Hash result;
  const ChainJob job = {&path, hashLeaf(path, value), 0, kj::arrayPtr(&target, 1), &result};
  runChains(kj::arrayPtr(&job, 1));
  return result;
}

}  // namespace ledger::hash
