// SPDX-License-Identifier: Apache-2.0
#pragma once
// The names of checkpoint files, and which checkpoints a directory has.

#include <kj/filesystem.h>
#include <kj/string.h>

#include <cstdint>

namespace ledger {

constexpr kj::StringPtr ROOT_CHECKPOINT_NAME = "root.checkpoint"_kj;

// "checkpoint.00000007": the header file's name, and the checkpoint's.
kj::String checkpointName(uint64_t number);

// `name` with ".000" to ".016".
kj::String checkpointPartName(kj::StringPtr name, unsigned part);

// Whether a ledger looks for a checkpoint of this name: checkpointName()'s spelling of a number, or
// ROOT_CHECKPOINT_NAME.
bool isCheckpointName(kj::StringPtr name);

// The numbers of the checkpoints whose header file is there, ascending. root.checkpoint is not one
// of them, nor is a number that is spelt in another way ("checkpoint.7"): flow-go lists that one
// but cannot open it.
kj::Array<uint64_t> listCheckpoints(const kj::ReadableDirectory& directory);

// Whether root.checkpoint's header file is there, or a symbolic link of that name: one that leads
// nowhere makes reading fail, not the ledger empty.
bool hasRootCheckpoint(const kj::ReadableDirectory& directory);

}  // namespace ledger
