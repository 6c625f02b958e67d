// SPDX-License-Identifier: Apache-2.0
#pragma once
// Bytes as golden data writes them: hex, or length and SHA-256 where they would be large.

#include <kj/array.h>
#include <kj/string.h>

#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <string>

namespace ledger::golden {

using Bytes = kj::Array<kj::byte>;

// Throws on anything that is not pairs of hexadecimal digits.
Bytes fromHex(const std::string& hex);
kj::String toHex(kj::ArrayPtr<const kj::byte> bytes);

std::array<kj::byte, 32> sha256(kj::ArrayPtr<const kj::byte> bytes);

class Blob {
public:
  Blob() = default;

  // A hex string, null (no bytes), or {"sha256", "len"}.
  static Blob parse(const nlohmann::json& json);

  bool matches(kj::ArrayPtr<const kj::byte> bytes) const;

  // Whether `digest` and `length` are this blob's, whatever `length` counts: golden data has
  // digests of things that are longer than what they count.
  bool matches(const std::array<kj::byte, 32>& digest, uint64_t length) const;

  // "12 bytes ab12…": for a report of a difference.
  kj::String describe() const;

private:
  uint64_t length = 0;
  std::array<kj::byte, 32> digest = sha256(nullptr);
};

// As Blob::describe(), of bytes at hand.
kj::String describe(kj::ArrayPtr<const kj::byte> bytes);

}  // namespace ledger::golden
