// SPDX-License-Identifier: Apache-2.0
#pragma once
// One line of a vector file: its JSON, the bytes made of it, and the verdict on it.

#include "ledger/error.h"
#include "ledger/model.h"
#include "tests/golden/vectors/vectors.h"

#include <kj/array.h>
#include <kj/string.h>
#include <kj/vector.h>
#include <nlohmann/json.hpp>

#include <string>

namespace ledger::golden {

class VectorLine final {
public:
  // `place` names file and line.
  VectorLine(std::string place, nlohmann::json json, VectorResult& result);

  const nlohmann::json& json() const { return root; }

  // The field's text, which must be there.
  std::string text(const char* field) const;

  // Bytes of the field's hex, or of any hex. Valid as long as the line.
  kj::ArrayPtr<const kj::byte> bytes(const char* field);
  kj::ArrayPtr<const kj::byte> bytesOf(const nlohmann::json& hex);

  // Keeps `owned` as long as the line.
  kj::ArrayPtr<const kj::byte> keep(kj::Array<kj::byte> owned);

  // One comparison; `what` and the line's `why` name a failure.
  void check(bool holds, kj::StringPtr what);
  void checkEqual(kj::ArrayPtr<const kj::byte> found, kj::ArrayPtr<const kj::byte> expected,
                  kj::StringPtr what);

private:
  std::string place;
  nlohmann::json root;
  VectorResult& result;
  kj::Vector<kj::Array<kj::byte>> kept;
};

// What a file's lines are held to.
void checkHash(VectorLine& line);         // hash.jsonl
void checkKey(VectorLine& line);          // keys.jsonl
void checkEncoding(VectorLine& line);     // encodings.jsonl
void checkBadEncoding(VectorLine& line);  // bad-encodings.jsonl
void checkOddEncoding(VectorLine& line);  // odd-encodings.jsonl
void checkVerdict(VectorLine& line);      // verify.jsonl

}  // namespace ledger::golden
