// SPDX-License-Identifier: Apache-2.0
#pragma once
// The hash of an empty subtrie at each height.

#include "ledger/model.h"

namespace ledger::hash {

// Height 0 to TRIE_HEIGHT. Thread: any; computed once.
const Hash& defaultHash(unsigned height);

// The hash of a leaf that stands at `height` and is alone below it; the default hash if `value` is
// empty. flow-go calls it the compact leaf's hash.
Hash compactLeafHash(const Path& path, Value value, unsigned height);

}  // namespace ledger::hash
