// SPDX-License-Identifier: Apache-2.0
#pragma once
// Folders and files of a test's own.

#include <kj/array.h>
#include <kj/common.h>

#include <string>
#include <vector>

namespace ledger::testing {

// A new folder, mode 0700, removed with all it holds by the destructor. Its path is short enough
// for Unix sockets.
class ScratchFolder final {
public:
  ScratchFolder();
  ~ScratchFolder();
  KJ_DISALLOW_COPY(ScratchFolder);

  const std::string& path() const { return folder; }
  std::string operator/(const std::string& name) const { return folder + "/" + name; }

private:
  std::string folder;
};

// Copies the files of `from` (no subfolders) into `to`, which is made if it is not there. The
// copies are writable.
void copyFolder(const std::string& from, const std::string& to);

// Names, sorted. Empty if there is no such folder.
std::vector<std::string> filesOf(const std::string& folder);

// Those of them that are segments of a log: decimal numbers.
std::vector<std::string> segmentsOf(const std::string& folder);

// Throws if it cannot be read.
kj::Array<kj::byte> readFile(const std::string& path);

}  // namespace ledger::testing
