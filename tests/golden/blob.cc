// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/blob.h"

#include <kj/debug.h>

#include <nlohmann/json.hpp>
#include <openssl/sha.h>

namespace ledger::golden {

namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

kj::String inWords(uint64_t length, const std::array<kj::byte, 32>& digest) {
  return kj::str(length, " bytes, SHA-256 ", toHex({digest.data(), 6}), "...");
}

}  // namespace

Bytes fromHex(const std::string& hex) {
  KJ_REQUIRE(hex.size() % 2 == 0, "odd number of hex digits", hex.size());
  auto bytes = kj::heapArray<kj::byte>(hex.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    const int high = digit(hex[2 * i]), low = digit(hex[2 * i + 1]);
    KJ_REQUIRE(high >= 0 && low >= 0, "not a hex digit", 2 * i);
    bytes[i] = kj::byte(high << 4 | low);
  }
  return bytes;
}

kj::String toHex(kj::ArrayPtr<const kj::byte> bytes) {
  static constexpr char DIGITS[] = "0123456789abcdef";
  auto hex = kj::heapString(2 * bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    hex[2 * i] = DIGITS[bytes[i] >> 4];
    hex[2 * i + 1] = DIGITS[bytes[i] & 15];
  }
  return hex;
}

std::array<kj::byte, 32> sha256(kj::ArrayPtr<const kj::byte> bytes) {
  std::array<kj::byte, 32> digest;
  SHA256(bytes.begin(), bytes.size(), digest.data());
  return digest;
}

Blob Blob::parse(const nlohmann::json& json) {
  Blob blob;
  if (json.is_null()) return blob;
  if (json.is_string()) {
    auto bytes = fromHex(json.get_ref<const std::string&>());
    blob.length = bytes.size();
    blob.digest = sha256(bytes);
    return blob;
  }
  auto bytes = fromHex(json.at("sha256").get_ref<const std::string&>());
  KJ_REQUIRE(bytes.size() == blob.digest.size(), "a SHA-256 has 32 bytes", bytes.size());
  std::copy(bytes.begin(), bytes.end(), blob.digest.begin());
  blob.length = json.at("len").get<uint64_t>();
  return blob;
}

bool Blob::matches(kj::ArrayPtr<const kj::byte> bytes) const {
  return matches(sha256(bytes), bytes.size());
}

bool Blob::matches(const std::array<kj::byte, 32>& otherDigest, uint64_t otherLength) const {
  return length == otherLength && digest == otherDigest;
}

kj::String Blob::describe() const {
  return inWords(length, digest);
}

kj::String describe(kj::ArrayPtr<const kj::byte> bytes) {
  return inWords(bytes.size(), sha256(bytes));
}

}  // namespace ledger::golden
