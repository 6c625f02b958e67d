// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/default-table.h"

#include "ledger/hash/keccak.h"

#include <kj/string.h>

namespace ledger::hash {

const DefaultTable& defaultTable() {
  static const DefaultTable TABLE = [] {
    DefaultTable table;
    Sponge sponge;
    sponge.absorb(kj::StringPtr("default:").asBytes());
    table[0] = sponge.squeeze();
    for (unsigned height = 1; height <= TRIE_HEIGHT; ++height) {
      hashPair(table[height - 1], table[height - 1], table[height]);
    }
    return table;
  }();
  return TABLE;
}

}  // namespace ledger::hash
