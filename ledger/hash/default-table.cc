// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/default-table.h"

#include "ledger/hash/kernels.h"

#include <kj/string.h>

namespace ledger::hash {

const DefaultTable& defaultTable() {
  static const DefaultTable TABLE = [] {
    DefaultTable table;
    const ScalarKernel& kernel = *kernels().scalar;
    const auto bottom = kj::StringPtr("default:").asBytes();
    MessageRun run = {bottom.begin(), bottom.size(), nullptr, 0, table[0].bytes.data()};
    const uint64_t state[STATE_WORDS] = {};
    kernel.finishMessage(run, state);
    for (unsigned height = 1; height <= TRIE_HEIGHT; ++height) {
      const auto* below = table[height - 1].bytes.data();
      kernel.hashPair(below, below, table[height].bytes.data());
    }
    return table;
  }();
  return TABLE;
}

}  // namespace ledger::hash
