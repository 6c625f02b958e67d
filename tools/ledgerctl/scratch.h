// SPDX-License-Identifier: Apache-2.0
#pragma once
// A folder of a test's own, for tests: removed with its files at the end.

#include <kj/debug.h>

#include <filesystem>
#include <fstream>
#include <string>

#include <stdlib.h>

namespace ledgerctl {

class Scratch final {
public:
  Scratch() {
    char name[] = "/tmp/ledgerctl-test-XXXXXX";
    KJ_ASSERT(mkdtemp(name) != nullptr);
    folder = name;
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  KJ_DISALLOW_COPY(Scratch);

  std::string operator/(const std::string& name) const { return folder + "/" + name; }

  // Makes the file and answers its path.
  std::string file(const std::string& name, const std::string& content) const {
    std::ofstream(*this / name, std::ios::binary) << content;
    return *this / name;
  }

private:
  std::string folder;
};

}  // namespace ledgerctl
