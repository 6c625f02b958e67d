// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a key to its place in the trie: the SHA3-256 of the key's canonical form.
//
// The canonical form of a key is, for each part, '/', the type in decimal, '/', the value. It is
// not escaped, so two keys can share one, and then they are one register: (0 "a", 2 "b") and (0
// "a/2/b").
//
// Source: flow-go's path finder, version 1 (docs/formats.md, "Paths").

#include "ledger/encoding.h"
#include "ledger/model.h"

#include <kj/array.h>

namespace ledger {

// `key` must have passed validateKey(): throws if it is malformed. Does not allocate.
Path pathOf(EncodedKey key);

// out[i] = pathOf(keys[i]), ordinary keys hashed side by side. Sizes must match.
void pathsOf(kj::ArrayPtr<const EncodedKey> keys, kj::ArrayPtr<Path> out);

// For tools and tests. Throws like pathOf().
kj::Array<kj::byte> canonicalForm(EncodedKey key);

}  // namespace ledger
