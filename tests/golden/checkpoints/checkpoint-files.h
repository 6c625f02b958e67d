// SPDX-License-Identifier: Apache-2.0
#pragma once
// Checkpoints of the golden data as tries, and tries held against the golden files.

#include "ledger/trie/store.h"
#include "ledger/trie/trie.h"

#include <kj/array.h>
#include <kj/filesystem.h>

#include <string>

namespace ledger::testing {

// For tests that begin with this: LEDGERD_GOLDEN is set.
#define SKIP_WITHOUT_GOLDEN()                                               \
  if (getenv("LEDGERD_GOLDEN") == nullptr) {                                \
    GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data"; \
  }                                                                         \
  static_assert(true)

// A folder or file below LEDGERD_GOLDEN.
kj::Own<const kj::ReadableDirectory> goldenFolder(const std::string& path);
kj::Own<const kj::ReadableFile> goldenFile(const std::string& path);

kj::Own<const Store> newStore();

// In file order, with the sharing that they have in the files.
kj::Array<kj::Own<const Trie>> loadCheckpoint(const kj::ReadableDirectory& directory,
                                              kj::StringPtr name, const Store& store);

// Writes `tries` under the name of the golden checkpoint and compares all 18 files, with one
// thread, several, and all.
void expectSameFiles(const kj::ReadableDirectory& golden, kj::StringPtr name,
                     kj::ArrayPtr<const kj::Own<const Trie>> tries);

}  // namespace ledger::testing
