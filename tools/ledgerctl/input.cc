// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/input.h"

#include "ledger/encoding.h"

#include <kj/io.h>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace ledgerctl {
namespace {

using Json = nlohmann::json;

Parsed<kj::Array<kj::byte>> readAll(int fd, kj::StringPtr name) {
  kj::Vector<kj::byte> content;
  kj::byte buffer[65536];
  for (;;) {
    auto count = read(fd, buffer, sizeof(buffer));
    if (count == 0) return content.releaseAsArray();
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return BadText{kj::str("cannot read ", name, ": ", strerror(errno))};
    content.addAll(kj::arrayPtr(buffer, count));
  }
}

Parsed<Key> encode(kj::ArrayPtr<const TextPart> parts) {
  auto views = KJ_MAP(part, parts) {
    return ledger::KeyPart{part.type, part.value};
  };
  auto encoded = ledger::encodeKey(views);
  KJ_IF_MAYBE (error, encoded.tryGet<ledger::Error>()) return BadText{kj::mv(error->message)};
  return kj::mv(encoded.get<kj::Array<kj::byte>>());
}

Parsed<Key> parseKey(kj::StringPtr text) {
  auto parts = parseKeyText(text);
  KJ_IF_MAYBE (bad, parts.tryGet<BadText>()) return kj::mv(*bad);
  return encode(parts.get<kj::Array<TextPart>>());
}

Parsed<kj::Array<kj::byte>> hexOf(const Json& json) {
  if (json.is_null()) return kj::Array<kj::byte>();
  if (json.is_string()) {
    auto& digits = json.get_ref<const std::string&>();
    KJ_IF_MAYBE (bytes, parseHex(kj::arrayPtr(digits.data(), digits.size()))) return kj::mv(*bytes);
  }
  return BadText{kj::str("a value is not a string of pairs of hex digits")};
}

Parsed<Key> keyOf(const Json& json) {
  if (!json.is_array()) return BadText{kj::str("a key is not a list of parts")};
  kj::Vector<TextPart> parts;
  for (auto& part : json) {
    auto type = part.is_object() ? part.value("type", Json()) : Json();
    if (!type.is_number_unsigned() || type.get<uint64_t>() > 65535 || !part.contains("value")) {
      return BadText{kj::str("a part is not {\"type\":0 to 65535,\"value\":\"hex\"}")};
    }
    auto value = hexOf(part["value"]);
    KJ_IF_MAYBE (bad, value.tryGet<BadText>()) return kj::mv(*bad);
    parts.add(TextPart{type.get<uint16_t>(), kj::mv(value.get<kj::Array<kj::byte>>())});
  }
  return encode(parts);
}

Parsed<Update> updateOf(const Json& json) {
  if (!json.is_object() || !json.contains("key") || !json.contains("value")) {
    return BadText{kj::str("an update is not {\"key\":[...],\"value\":\"hex\"}")};
  }
  auto key = keyOf(json["key"]);
  KJ_IF_MAYBE (bad, key.tryGet<BadText>()) return kj::mv(*bad);
  auto value = hexOf(json["value"]);
  KJ_IF_MAYBE (bad, value.tryGet<BadText>()) return kj::mv(*bad);
  return Update{kj::mv(key.get<Key>()), kj::mv(value.get<kj::Array<kj::byte>>())};
}

// Adds what `read` makes of each line that is not blank.
template <typename T, typename Read>
kj::Maybe<BadText> readLines(const std::string& path, kj::Vector<T>& to, Read&& read) {
  auto file = readFile(path);
  KJ_IF_MAYBE (bad, file.tryGet<BadText>()) return kj::mv(*bad);
  auto rest = file.get<kj::Array<kj::byte>>().asPtr().asChars();
  for (size_t number = 1; rest.size() > 0; ++number) {
    auto end = static_cast<const char*>(memchr(rest.begin(), '\n', rest.size()));
    size_t length = end == nullptr ? rest.size() : end - rest.begin();
    std::string line(rest.begin(), length);
    rest = rest.slice(end == nullptr ? length : length + 1, rest.size());
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    Parsed<T> item =
        json.is_discarded() ? Parsed<T>(BadText{kj::str("this is not JSON")}) : read(json);
    KJ_IF_MAYBE (bad, item.template tryGet<BadText>()) {
      return BadText{kj::str(path.c_str(), ", line ", number, ": ", bad->why)};
    }
    to.add(kj::mv(item.template get<T>()));
  }
  return nullptr;
}

Parsed<kj::Array<kj::byte>> parseValue(kj::StringPtr text) {
  if (text.startsWith("@")) return readFile(text.slice(1).cStr());
  if (text.startsWith("0x")) {
    KJ_IF_MAYBE (bytes, parseHex(text.slice(2).asArray())) return kj::mv(*bytes);
    return BadText{kj::str("\"", text, "\" is not hex: pairs of hex digits must follow 0x")};
  }
  return kj::heapArray<kj::byte>(text.asBytes());
}

Parsed<Update> parseUpdate(kj::StringPtr text) {
  KJ_IF_MAYBE (equals, text.findFirst('=')) {
    auto key = parseKey(kj::str(text.slice(0, *equals)));
    KJ_IF_MAYBE (bad, key.tryGet<BadText>()) return kj::mv(*bad);
    auto value = parseValue(text.slice(*equals + 1));
    KJ_IF_MAYBE (bad, value.tryGet<BadText>()) return kj::mv(*bad);
    return Update{kj::mv(key.get<Key>()), kj::mv(value.get<kj::Array<kj::byte>>())};
  }
  return BadText{kj::str("\"", text, "\" is not an update: KEY=VALUE")};
}

template <typename T, typename ParseText, typename ReadJson>
Parsed<kj::Array<T>> collect(const std::vector<std::string>& texts, const std::string& file,
                             ParseText&& parseText, ReadJson&& readJson) {
  kj::Vector<T> all;
  for (auto& text : texts) {
    Parsed<T> item = parseText(kj::StringPtr(text.c_str()));
    KJ_IF_MAYBE (bad, item.template tryGet<BadText>()) return kj::mv(*bad);
    all.add(kj::mv(item.template get<T>()));
  }
  if (!file.empty()) {
    KJ_IF_MAYBE (bad, readLines(file, all, readJson)) return kj::mv(*bad);
  }
  return all.releaseAsArray();
}

}  // namespace

Parsed<StateName> parseState(kj::StringPtr text) {
  if (text == "latest") return StateName(Latest());
  if (text == "initial") return StateName(Initial());
  KJ_IF_MAYBE (bytes, parseHex(text.asArray())) {
    if (bytes->size() == ledger::RootHash::SIZE) {
      return StateName(ledger::RootHash::copyOf(*bytes));
    }
  }
  return BadText{kj::str("\"", text, "\" is not a state: 64 hex digits, latest or initial")};
}

Parsed<kj::Array<Key>> readKeys(const std::vector<std::string>& texts, const std::string& file) {
  return collect<Key>(texts, file, &parseKey, &keyOf);
}

Parsed<kj::Array<Update>> readUpdates(const std::vector<std::string>& texts,
                                      const std::string& file) {
  return collect<Update>(texts, file, &parseUpdate, &updateOf);
}

Parsed<kj::Array<kj::byte>> readFile(const std::string& path) {
  if (path == "-") return readAll(STDIN_FILENO, "standard input");
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return BadText{kj::str("cannot open ", path.c_str(), ": ", strerror(errno))};
  kj::AutoCloseFd file(fd);
  return readAll(file, path.c_str());
}

kj::Array<ledger::EncodedKey> viewsOf(kj::ArrayPtr<const Key> keys) {
  return KJ_MAP(key, keys) {
    return ledger::EncodedKey(key);
  };
}

}  // namespace ledgerctl
