// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/vectors/vectors.h"

#include "tests/golden/vectors/vector-line.h"

#include <kj/debug.h>

#include <fstream>

namespace ledger::golden {
namespace {

struct VectorFile {
  const char* name;
  void (*check)(VectorLine&);
};

constexpr VectorFile FILES[] = {
    {"hash.jsonl", checkHash},
    {"keys.jsonl", checkKey},
    {"encodings.jsonl", checkEncoding},
    {"bad-encodings.jsonl", checkBadEncoding},
    {"odd-encodings.jsonl", checkOddEncoding},
    {"verify.jsonl", checkVerdict},
};

}  // namespace

VectorResult runVectors(kj::StringPtr directory) {
  VectorResult result;
  for (const auto& file : FILES) {
    std::ifstream lines((std::string(directory.cStr()) + "/") + file.name);
    if (!lines.is_open()) {
      result.skipped.add(kj::str(file.name, ": not in ", directory));
      continue;
    }
    std::string text;
    for (unsigned number = 1; std::getline(lines, text); ++number) {
      auto place = std::string(file.name) + ":" + std::to_string(number);
      auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
      KJ_REQUIRE(json.is_object(), "a vector is not a JSON object", place.c_str());
      VectorLine line(place, std::move(json), result);
      file.check(line);
    }
    KJ_REQUIRE(lines.eof(), "a vector file cannot be read", directory, file.name);
  }
  return result;
}

}  // namespace ledger::golden
