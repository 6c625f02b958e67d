// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs the program, for tests of what scripts see of it.

#include "tools/ledgerctl/scratch.h"

#include <kj/debug.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <stdlib.h>
#include <sys/wait.h>

namespace ledgerctl {

struct Outcome {
  int code;
  std::string out, err;
};

inline std::string shellQuoted(const std::string& argument) {
  std::string text = "'";
  for (char byte : argument) text += byte == '\'' ? std::string("'\\''") : std::string(1, byte);
  return text + "'";
}

inline std::string readWhole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Runs ledgerctl; `input` goes to its standard input. Uses the files in, out and err of `scratch`.
inline Outcome runLedgerctl(const Scratch& scratch, const std::vector<std::string>& arguments,
                            const std::string& input = "") {
  auto in = scratch.file("in", input);
  std::string command = "tools/ledgerctl/ledgerctl";
  for (auto& argument : arguments) command += " " + shellQuoted(argument);
  command += " <" + in + " >" + (scratch / "out") + " 2>" + (scratch / "err");
  int status = system(command.c_str());
  KJ_ASSERT(WIFEXITED(status), command.c_str());
  return {WEXITSTATUS(status), readWhole(scratch / "out"), readWhole(scratch / "err")};
}

}  // namespace ledgerctl
