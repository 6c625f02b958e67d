// SPDX-License-Identifier: Apache-2.0
#pragma once
// The names under which checkpoint files are written, and what becomes of those that a killed
// process leaves.
//
// "writing-<final name>-<random decimal>", as flow-go has it, in the directory of the final file.

#include <kj/array.h>
#include <kj/filesystem.h>
#include <kj/string.h>

namespace ledger {

// A new file of mode 0600 with a temporary name for `finalName`.
struct TemporaryFile {
  kj::String name;
  kj::Own<const kj::File> file;
};
TemporaryFile createTemporary(const kj::Directory& directory, kj::StringPtr finalName);

// Removes what checkpoint writers, ours or flow-go's, left behind when they were killed, and
// returns the names of what it removed: temporary files, and the parts of a checkpoint that has no
// header but a temporary file. (A writer begins only where no file of its checkpoint is there, so
// those parts are its own. Parts without both are not known to be and stay.) The caller holds the
// directory's lock, and no checkpoint is being written.
kj::Array<kj::String> removeInterruptedCheckpoints(const kj::Directory& directory);

// Removes checkpoint `name` so that what a crash on the way leaves is an interrupted one: its header
// goes back to a temporary name, which outlasts the parts. The caller holds the directory's lock.
void removeCheckpoint(const kj::Directory& directory, kj::StringPtr name);

}  // namespace ledger
