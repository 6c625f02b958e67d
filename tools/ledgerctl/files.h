// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ledger's directories and checkpoints that a command line names.

#include "tools/ledgerctl/key-text.h"

#include <kj/filesystem.h>

#include <string>

namespace ledgerctl {

Parsed<kj::Own<const kj::ReadableDirectory>> openDirectory(const std::string& path);
Parsed<kj::Own<const kj::Directory>> openDirectoryForWriting(const std::string& path);

// "a/b" is "a" and "b", "b" is "." and "b", "a/" is "a" and nothing.
struct SplitPath {
  std::string directory;
  std::string name;
};
SplitPath splitPath(const std::string& path);

struct CheckpointFile {
  kj::Own<const kj::ReadableDirectory> directory;
  kj::String name;
};

// The checkpoint whose header `path` is. Only its place is looked at, not what is in it.
Parsed<CheckpointFile> openCheckpointFile(const std::string& path);

}  // namespace ledgerctl
