// SPDX-License-Identifier: Apache-2.0
#include "bench/case.h"

#include <kj/debug.h>

#include <sstream>
#include <string>

namespace ledger::bench {

kj::Maybe<Case> parseCase(kj::StringPtr line) {
  std::string text = line.cStr();
  text = text.substr(0, text.find('#'));
  std::istringstream words(text);
  std::string name, operation, surplus;
  uint64_t size, samples;
  if (!(words >> name)) return nullptr;
  const bool complete = bool(words >> operation >> size >> samples);
  KJ_REQUIRE(complete && !(words >> surplus),
             "a case has a name, an operation, a size and a number of samples", line);
  return Case{kj::str(name.c_str()), kj::str(operation.c_str()), size, samples};
}

}  // namespace ledger::bench
