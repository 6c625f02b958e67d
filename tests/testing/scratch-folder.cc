// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdlib.h>

namespace ledger::testing {

namespace fs = std::filesystem;

ScratchFolder::ScratchFolder() {
  // Not TEST_TMPDIR, which can be too long: the path of a Unix socket holds 107 characters.
  char pattern[] = "/tmp/ledgerd-test-XXXXXX";
  KJ_REQUIRE(mkdtemp(pattern) != nullptr, "cannot make a directory", pattern);
  folder = pattern;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;  // What is left is in /tmp.
  fs::remove_all(folder, ignored);
}

void copyFolder(const std::string& from, const std::string& to) {
  KJ_REQUIRE(fs::is_directory(from), "no such directory", from.c_str());
  fs::create_directories(to);
  for (auto& entry : fs::directory_iterator(from)) {
    if (!entry.is_regular_file()) continue;
    const auto copy = fs::path(to) / entry.path().filename();
    fs::copy_file(entry.path(), copy);
    fs::permissions(copy, fs::perms::owner_read | fs::perms::owner_write);
  }
}

std::vector<std::string> filesOf(const std::string& folder) {
  std::vector<std::string> names;
  if (!fs::is_directory(folder)) return names;
  for (auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> segmentsOf(const std::string& folder) {
  auto names = filesOf(folder);
  std::erase_if(names, [](const std::string& name) {
    return name.find_first_not_of("0123456789") != std::string::npos;
  });
  return names;
}

kj::Array<kj::byte> readFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  KJ_REQUIRE(in.is_open(), "cannot open", path.c_str());
  auto bytes = kj::heapArray<kj::byte>(in.tellg());
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.begin()), bytes.size());
  KJ_REQUIRE(in.good(), "cannot read", path.c_str());
  return bytes;
}

}  // namespace ledger::testing
