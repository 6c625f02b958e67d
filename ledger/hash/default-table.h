// SPDX-License-Identifier: Apache-2.0
#pragma once
// The hashes of empty subtries as one table, for code that climbs through many heights.

#include "ledger/model.h"

#include <array>

namespace ledger::hash {

using DefaultTable = std::array<Hash, TRIE_HEIGHT + 1>;

// Indexed by height. Thread: any; computed once.
const DefaultTable& defaultTable();

}  // namespace ledger::hash
