// SPDX-License-Identifier: Apache-2.0
#pragma once
// The order in which a trie is descended with many paths at once.

#include "ledger/model.h"

#include <kj/array.h>

namespace ledger {

// The indexes of `paths`, fewer than 2^32, ascending by path; equal paths in the order given.
kj::Array<uint32_t> orderByPath(kj::ArrayPtr<const Path> paths);

}  // namespace ledger
