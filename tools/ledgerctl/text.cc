// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/text.h"

#include "ledger/encoding.h"
#include "tools/ledgerctl/key-text.h"

#include <cstdio>

namespace ledgerctl {
namespace {

constexpr size_t PREVIEW_BYTES = 48;

}  // namespace

kj::String sizeText(uint64_t bytes) {
  constexpr const char* UNITS[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return kj::str(bytes, bytes == 1 ? " byte" : " bytes");
  double amount = bytes / 1024.0;
  size_t unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (amount >= 1023.95 && unit + 1 < kj::size(UNITS)) {
    amount /= 1024;
    ++unit;
  }
  char text[32];
  snprintf(text, sizeof(text), "%.1f %s", amount, UNITS[unit]);
  return kj::str(text);
}

kj::String previewText(kj::ArrayPtr<const kj::byte> bytes) {
  if (bytes.size() == 0) return kj::str("(empty)");
  auto shown = bytes.slice(0, kj::min(bytes.size(), PREVIEW_BYTES));
  auto rest = shown.size() < bytes.size() ? "..."_kj : ""_kj;
  for (auto byte : bytes) {
    if (byte < ' ' || byte >= 0x7f) return kj::str("0x", toHex(shown), rest);
  }
  return kj::str('"', shown.asChars(), '"', rest);
}

kj::String keyText(ledger::EncodedKey key) {
  auto decoded = ledger::decodeKey(key);
  if (decoded.is<ledger::Error>()) return kj::str("(encoded key 0x", toHex(key), ")");
  auto parts = KJ_MAP(part, decoded.get<kj::Array<ledger::KeyPart>>()) {
    return TextPart{part.type, kj::heapArray<kj::byte>(part.value)};
  };
  return toKeyText(parts);
}

kj::StringPtr codeName(ledger::Code code) {
  using ledger::Code;
  switch (code) {
    case Code::CANCELLED:
      return "CANCELLED";
    case Code::INVALID_ARGUMENT:
      return "INVALID_ARGUMENT";
    case Code::DEADLINE_EXCEEDED:
      return "DEADLINE_EXCEEDED";
    case Code::NOT_FOUND:
      return "NOT_FOUND";
    case Code::PERMISSION_DENIED:
      return "PERMISSION_DENIED";
    case Code::RESOURCE_EXHAUSTED:
      return "RESOURCE_EXHAUSTED";
    case Code::FAILED_PRECONDITION:
      return "FAILED_PRECONDITION";
    case Code::OUT_OF_RANGE:
      return "OUT_OF_RANGE";
    case Code::UNIMPLEMENTED:
      return "UNIMPLEMENTED";
    case Code::INTERNAL:
      return "INTERNAL";
    case Code::UNAVAILABLE:
      return "UNAVAILABLE";
    case Code::DATA_LOSS:
      return "DATA_LOSS";
  }
  return "UNKNOWN";
}

kj::StringPtr reasonName(ledger::Reason reason) {
  using ledger::Reason;
  switch (reason) {
    case Reason::UNSPECIFIED:
      return "UNSPECIFIED";
    case Reason::BAD_STATE:
      return "BAD_STATE";
    case Reason::BAD_KEY:
      return "BAD_KEY";
    case Reason::BAD_REQUEST:
      return "BAD_REQUEST";
    case Reason::UNKNOWN_STATE:
      return "UNKNOWN_STATE";
    case Reason::INDEX_OUT_OF_RANGE:
      return "INDEX_OUT_OF_RANGE";
    case Reason::TOO_LARGE:
      return "TOO_LARGE";
    case Reason::OUT_OF_MEMORY:
      return "OUT_OF_MEMORY";
    case Reason::OUT_OF_SHARED_MEMORY:
      return "OUT_OF_SHARED_MEMORY";
    case Reason::QUOTA:
      return "QUOTA";
    case Reason::READ_ONLY_SESSION:
      return "READ_ONLY_SESSION";
    case Reason::SHUTTING_DOWN:
      return "SHUTTING_DOWN";
    case Reason::CANCELLED:
      return "CANCELLED";
    case Reason::WRITE_FAILED:
      return "WRITE_FAILED";
    case Reason::PROOF_TOO_DEEP:
      return "PROOF_TOO_DEEP";
    case Reason::SET_ID_REUSED:
      return "SET_ID_REUSED";
    case Reason::BAD_ARENA:
      return "BAD_ARENA";
    case Reason::VERSION_MISMATCH:
      return "VERSION_MISMATCH";
    case Reason::BAD_ENCODING:
      return "BAD_ENCODING";
  }
  return "UNSPECIFIED";
}

kj::StringPtr faultText(const kj::Exception& exception) {
  auto text = exception.getDescription();
  if (!text.startsWith("expected ")) return text;
  for (size_t i = 0; i + 2 < text.size(); ++i) {
    if (text[i] == ';' && text[i + 1] == ' ') return text.slice(i + 2);
  }
  return text;
}

kj::String padded(uint64_t number, size_t width) {
  auto digits = kj::str(number);
  return kj::str(kj::repeat(' ', width - kj::min(width, digits.size())), digits);
}

kj::String countText(uint64_t count, kj::StringPtr thing) {
  return kj::str(count, " ", thing, count == 1 ? "" : "s");
}

}  // namespace ledgerctl
