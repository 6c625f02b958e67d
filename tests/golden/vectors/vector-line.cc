// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/vectors/vector-line.h"

#include <kj/debug.h>
#include <kj/encoding.h>

namespace ledger::golden {
namespace {

// Long encodings differ somewhere; the beginning says which they are.
kj::String shortHex(kj::ArrayPtr<const kj::byte> bytes) {
  constexpr size_t SHOWN = 48;
  if (bytes.size() <= SHOWN) return kj::encodeHex(bytes);
  return kj::str(kj::encodeHex(bytes.slice(0, SHOWN)), "… (", bytes.size(), " bytes)");
}

}  // namespace

VectorLine::VectorLine(std::string place, nlohmann::json json, VectorResult& result)
    : place(std::move(place)), root(std::move(json)), result(result) {}

std::string VectorLine::text(const char* field) const {
  KJ_REQUIRE(root.contains(field) && root[field].is_string(), "a vector lacks a field",
             place.c_str(), field);
  return root[field].get<std::string>();
}

kj::ArrayPtr<const kj::byte> VectorLine::bytes(const char* field) {
  KJ_REQUIRE(root.contains(field), "a vector lacks a field", place.c_str(), field);
  return bytesOf(root[field]);
}

kj::ArrayPtr<const kj::byte> VectorLine::bytesOf(const nlohmann::json& hex) {
  if (hex.is_null()) return nullptr;
  const auto& digits = hex.get_ref<const std::string&>();
  auto decoded = kj::decodeHex(kj::arrayPtr(digits.data(), digits.size()));
  KJ_REQUIRE(!decoded.hadErrors, "a vector's bytes are not hex", place.c_str(), digits.c_str());
  return keep(kj::mv(decoded));
}

kj::ArrayPtr<const kj::byte> VectorLine::keep(kj::Array<kj::byte> owned) {
  return kept.add(kj::mv(owned));
}

void VectorLine::check(bool holds, kj::StringPtr what) {
  if (holds) {
    ++result.passed;
    return;
  }
  const std::string why = root.value("why", "");
  result.failures.add(why.empty() ? kj::str(place.c_str(), ": ", what)
                                  : kj::str(place.c_str(), ": ", what, " (", why.c_str(), ")"));
}

void VectorLine::checkEqual(kj::ArrayPtr<const kj::byte> found,
                            kj::ArrayPtr<const kj::byte> expected, kj::StringPtr what) {
  if (found == expected) {
    check(true, what);
  } else {
    check(false, kj::str(what, ": ", shortHex(found), " instead of ", shortHex(expected)));
  }
}

}  // namespace ledger::golden
