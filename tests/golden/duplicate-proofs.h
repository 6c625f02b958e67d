// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a proof must be where flow-go has none to compare with: it dies when a missing register is
// asked for twice (known issue 2).

#include "tests/golden/ledger-under-test.h"

namespace ledger::golden {

// Null if `proof` is one proof for each of `keys`, in ascending order of path, the proofs being
// those of the same query without duplicates, and all of them verify. Else what is wrong.
kj::Maybe<kj::String> faultOfDuplicateProof(LedgerUnderTest& ledger, const RootHash& state,
                                            Keys keys, kj::ArrayPtr<const kj::byte> proof);

}  // namespace ledger::golden
