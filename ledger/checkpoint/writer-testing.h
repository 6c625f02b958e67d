// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests of the checkpoint writer: the bytes of a checkpoint worked out in the simplest way.

#include "ledger/checkpoint/checkpoint-testing.h"
#include "ledger/trie/trie.h"
#include "tests/testing/simulated-disk.h"

#include <kj/array.h>
#include <kj/filesystem.h>

namespace ledger::testing {

// The checkpoint of `tries` by the letter of the format: every node is looked up among all those
// written before.
CheckpointParts simpleCheckpoint(kj::ArrayPtr<const kj::Own<const Trie>> tries);

// As files of an ordinary directory in memory.
kj::Own<const kj::Directory> asDirectory(const FileBytes& files);

// With a checkpoint of this name, as written by store().
FileBytes filesOf(const CheckpointParts& parts, kj::StringPtr name);

}  // namespace ledger::testing
