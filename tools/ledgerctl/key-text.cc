// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/key-text.h"

namespace ledgerctl {
namespace {

kj::Maybe<kj::byte> hexDigit(char digit) {
  if (digit >= '0' && digit <= '9') return kj::byte(digit - '0');
  if (digit >= 'a' && digit <= 'f') return kj::byte(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return kj::byte(digit - 'A' + 10);
  return nullptr;
}

bool isHexPrefix(kj::ArrayPtr<const char> text) {
  return text.size() >= 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
}

// Stands for itself in a value that is written as text.
bool isPlain(kj::byte byte) {
  return byte > ' ' && byte < 0x7f && byte != '%' && byte != '/' && byte != '=';
}

Parsed<kj::Array<kj::byte>> parseValue(kj::ArrayPtr<const char> text) {
  if (isHexPrefix(text)) {
    KJ_IF_MAYBE (bytes, parseHex(text.slice(2, text.size()))) return kj::mv(*bytes);
    return BadText{kj::str("\"", text,
                           "\" is not hex: pairs of hex digits must follow 0x (write a "
                           "text that begins with 0x as %30x...)")};
  }
  kj::Vector<kj::byte> value(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '=') {
      return BadText{kj::str("\"", text, "\" holds an =: write it as %3d")};
    }
    if (text[i] != '%') {
      value.add(text[i]);
      continue;
    }
    kj::Maybe<kj::Array<kj::byte>> escaped;
    if (text.size() - i > 2) escaped = parseHex(text.slice(i + 1, i + 3));
    KJ_IF_MAYBE (byte, escaped) {
      value.add((*byte)[0]);
      i += 2;
    } else {
      return BadText{kj::str("\"", text, "\": two hex digits must follow a % (write a % as %25)")};
    }
  }
  return value.releaseAsArray();
}

Parsed<uint16_t> parseType(kj::ArrayPtr<const char> text) {
  uint32_t type = 0;
  bool good = text.size() > 0 && text.size() <= 5;
  for (char digit : text) {
    good = good && digit >= '0' && digit <= '9';
    type = type * 10 + (digit - '0');
  }
  if (good && type <= 65535) return uint16_t(type);
  return BadText{kj::str("\"", text, "\" is not a part's type, 0 to 65535")};
}

Parsed<TextPart> parsePart(kj::ArrayPtr<const char> text) {
  size_t colon = 0;
  while (colon < text.size() && text[colon] != ':') ++colon;
  if (colon == text.size()) {
    return BadText{kj::str("\"", text, "\" has no type: a part is TYPE:VALUE, such as 2:storage")};
  }
  auto type = parseType(text.slice(0, colon));
  if (type.is<BadText>()) return kj::mv(type.get<BadText>());
  auto value = parseValue(text.slice(colon + 1, text.size()));
  if (value.is<BadText>()) return kj::mv(value.get<BadText>());
  return TextPart{type.get<uint16_t>(), kj::mv(value.get<kj::Array<kj::byte>>())};
}

kj::String toPartText(const TextPart& part) {
  for (auto byte : part.value) {
    if (byte < ' ' || byte >= 0x7f) return kj::str(part.type, ":0x", toHex(part.value));
  }
  auto chars = part.value.asChars();
  kj::Vector<kj::String> pieces;
  for (size_t i = 0; i < chars.size(); ++i) {
    bool plain = isPlain(part.value[i]) && !(i == 0 && isHexPrefix(chars));
    pieces.add(plain ? kj::str(chars[i]) : kj::str("%", toHex(part.value.slice(i, i + 1))));
  }
  return kj::str(part.type, ":", kj::strArray(pieces, ""));
}

}  // namespace

Parsed<kj::Array<TextPart>> parseKeyText(kj::StringPtr text) {
  kj::Vector<TextPart> parts;
  for (size_t start = 0; text.size() > 0 && start <= text.size();) {
    size_t end = start;
    while (end < text.size() && text[end] != '/') ++end;
    auto part = parsePart(text.asArray().slice(start, end));
    if (part.is<BadText>()) return kj::mv(part.get<BadText>());
    parts.add(kj::mv(part.get<TextPart>()));
    start = end + 1;
  }
  return parts.releaseAsArray();
}

kj::String toKeyText(kj::ArrayPtr<const TextPart> parts) {
  return kj::strArray(
      KJ_MAP(part, parts) { return toPartText(part); }, "/");
}

kj::Maybe<kj::Array<kj::byte>> parseHex(kj::ArrayPtr<const char> digits) {
  if (digits.size() % 2 != 0) return nullptr;
  auto bytes = kj::heapArray<kj::byte>(digits.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    KJ_IF_MAYBE (high, hexDigit(digits[2 * i])) {
      KJ_IF_MAYBE (low, hexDigit(digits[2 * i + 1])) {
        bytes[i] = *high << 4 | *low;
        continue;
      }
    }
    return nullptr;
  }
  return kj::mv(bytes);
}

kj::String toHex(kj::ArrayPtr<const kj::byte> bytes) {
  constexpr char DIGITS[] = "0123456789abcdef";
  auto text = kj::heapString(bytes.size() * 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    text[2 * i] = DIGITS[bytes[i] >> 4];
    text[2 * i + 1] = DIGITS[bytes[i] & 15];
  }
  return text;
}

}  // namespace ledgerctl
