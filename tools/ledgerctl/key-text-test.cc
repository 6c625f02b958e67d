// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/key-text.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace ledgerctl {
namespace {

using Parts = std::vector<std::pair<uint16_t, std::string>>;

// The parts of a text that is expected to be good.
Parts parse(kj::StringPtr text) {
  auto parsed = parseKeyText(text);
  if (parsed.is<BadText>()) {
    ADD_FAILURE() << text.cStr() << ": " << parsed.get<BadText>().why.cStr();
    return {};
  }
  Parts parts;
  for (auto& part : parsed.get<kj::Array<TextPart>>()) {
    parts.emplace_back(part.type, std::string(part.value.asChars().begin(), part.value.size()));
  }
  return parts;
}

kj::Array<TextPart> toTextParts(const Parts& parts) {
  auto result = kj::heapArrayBuilder<TextPart>(parts.size());
  for (auto& part : parts) {
    auto bytes = kj::arrayPtr(part.second.data(), part.second.size()).asBytes();
    result.add(TextPart{part.first, kj::heapArray<kj::byte>(bytes)});
  }
  return result.finish();
}

// The grammar of the header, form by form.
TEST(KeyText, ReadsEachForm) {
  EXPECT_EQ(parse(""), (Parts{}));
  EXPECT_EQ(parse("0:"), (Parts{{0, ""}}));
  EXPECT_EQ(parse("0:0x"), (Parts{{0, ""}}));
  EXPECT_EQ(parse("0:/2:uuid"), (Parts{{0, ""}, {2, "uuid"}}));
  EXPECT_EQ(parse("0:0xF2aB/2:storage"), (Parts{{0, "\xf2\xab"}, {2, "storage"}}));
  EXPECT_EQ(parse("65535:a:b"), (Parts{{65535, "a:b"}}));
  EXPECT_EQ(parse("1:%30x61"), (Parts{{1, "0x61"}}));
  EXPECT_EQ(parse("1:a%2Fb%3d%25/2:%00"), (Parts{{1, "a/b=%"}, {2, std::string(1, '\0')}}));
  EXPECT_EQ(parse("2:x0x1"), (Parts{{2, "x0x1"}}));
}

// A byte that the escape mangles, or that is written so that it reads as something else: every
// byte, alone, at the front, in the middle and at the end, as %XX and as it is printed.
TEST(KeyText, EveryByteComesBack) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    SCOPED_TRACE(byte);
    kj::byte one[] = {kj::byte(byte)};
    std::string single(1, char(byte));
    EXPECT_EQ(parse(kj::str("2:%", toHex(one))), (Parts{{2, single}}));
    for (auto& value : {single, single + "ab", "a" + single + "b", "ab" + single, "0x" + single}) {
      Parts parts{{0, value}, {7, value}};
      EXPECT_EQ(parse(toKeyText(toTextParts(parts))), parts);
    }
  }
}

// A formatter that escapes what people could read, or leaves what they could not.
TEST(KeyText, IsReadableWhereItCanBe) {
  auto text = [](const Parts& parts) { return std::string(toKeyText(toTextParts(parts)).cStr()); };
  EXPECT_EQ(text({}), "");
  EXPECT_EQ(text({{0, "\xf2\x33"}, {2, "public key/1=%"}}), "0:0xf233/2:public%20key%2f1%3d%25");
  EXPECT_EQ(text({{1, "0x12"}}), "1:%30x12");
  EXPECT_EQ(text({{0, ""}, {2, "uuid"}}), "0:/2:uuid");
}

// Texts that would silently name another register than the one meant.
TEST(KeyText, RefusesWhatIsNotAKey) {
  for (auto bad :
       {"storage", "/",    "0:/",     "/0:",     "0://2:a",      ":a",       "x:a",   "-1:a",
        "+1:a",    " 1:a", "65536:a", "99999:a", "4294967296:a", "000001:a", "1:0xf", "1:0xfg",
        "1:0Xf",   "1:%",  "1:%2",    "1:%2g",   "1:a%",         "1:%%",     "1:a=b"}) {
    SCOPED_TRACE(bad);
    EXPECT_TRUE(parseKeyText(bad).is<BadText>());
  }
}

}  // namespace
}  // namespace ledgerctl
