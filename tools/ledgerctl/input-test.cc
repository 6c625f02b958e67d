// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/input.h"

#include "ledger/encoding.h"
#include "tools/ledgerctl/scratch.h"

#include <gtest/gtest.h>

#include <string>

namespace ledgerctl {
namespace {

std::string hex(kj::ArrayPtr<const kj::byte> bytes) {
  return toHex(bytes).cStr();
}

std::string encoded(std::vector<std::pair<uint16_t, std::string>> parts) {
  auto views = kj::heapArrayBuilder<ledger::KeyPart>(parts.size());
  for (auto& part : parts) {
    views.add(ledger::KeyPart{part.first,
                              kj::arrayPtr(part.second.data(), part.second.size()).asBytes()});
  }
  return hex(ledger::encodeKey(views.finish()).get<kj::Array<kj::byte>>());
}

// A name that is taken for another state.
TEST(Input, ReadsStates) {
  std::string digits(64, 'a');
  auto state = parseState(digits.c_str());
  ASSERT_TRUE(state.is<StateName>());
  EXPECT_EQ(hex(state.get<StateName>().get<ledger::RootHash>().ptr()), digits);
  EXPECT_TRUE(parseState("latest").get<StateName>().is<Latest>());
  EXPECT_TRUE(parseState("initial").get<StateName>().is<Initial>());
  for (auto bad : {"", "Latest", "0x", "zz", "newest"}) {
    EXPECT_TRUE(parseState(bad).is<BadText>()) << bad;
  }
  for (size_t length : {2, 62, 63, 65, 66, 128}) {
    EXPECT_TRUE(parseState(std::string(length, 'a').c_str()).is<BadText>()) << length;
  }
}

// Keys that are dropped, reordered or read as others between arguments and file.
TEST(Input, ReadsKeysFromArgumentsThenFromAFile) {
  Scratch scratch;
  auto file = scratch.file("keys", R"([{"type":0,"value":"f2"},{"type":2,"value":"612f62"}]

   []
[{"value":"","type":65535}])");
  auto read = readKeys({"0:0xf2/2:a%2fb", ""}, file);
  ASSERT_TRUE(read.is<kj::Array<Key>>());
  auto& keys = read.get<kj::Array<Key>>();
  ASSERT_EQ(keys.size(), 5u);
  EXPECT_EQ(hex(keys[0]), encoded({{0, "\xf2"}, {2, "a/b"}}));
  EXPECT_EQ(hex(keys[1]), "0000");
  EXPECT_EQ(hex(keys[2]), hex(keys[0]));
  EXPECT_EQ(hex(keys[3]), "0000");
  EXPECT_EQ(hex(keys[4]), encoded({{65535, ""}}));
}

// A line that is half understood.
TEST(Input, RefusesLinesThatAreNotKeys) {
  Scratch scratch;
  for (auto bad :
       {"{", "7", "null", "\"00\"", "{}", "[7]", "[{}]", R"([{"type":0}])", R"([{"value":"00"}])",
        R"([{"type":-1,"value":""}])", R"([{"type":65536,"value":""}])",
        R"([{"type":"0","value":""}])", R"([{"type":1.5,"value":""}])",
        R"([{"type":0,"value":"0"}])", R"([{"type":0,"value":"0x00"}])",
        R"([{"type":0,"value":"zz"}])", R"([{"type":0,"value":7}])", "[] []"}) {
    auto read = readKeys({}, scratch.file("keys", std::string("[]\n") + bad + "\n[]"));
    ASSERT_TRUE(read.is<BadText>()) << bad;
    // The line is named.
    EXPECT_NE(std::string(read.get<BadText>().why.cStr()).find("line 2"), std::string::npos);
  }
  EXPECT_TRUE(readKeys({}, scratch / "none").is<BadText>());
  EXPECT_TRUE(readKeys({}, scratch / "").is<BadText>());
  EXPECT_TRUE(readKeys({"2:ok", "oops"}, "").is<BadText>());
}

// A value that is cut, or taken for a file or for hex.
TEST(Input, ReadsUpdates) {
  Scratch scratch;
  std::string binary("\0\n\xff=@0x", 7);
  auto value = scratch.file("value", binary);
  auto file = scratch.file("updates", R"({"key":[{"type":2,"value":"75"}],"value":"0aFF"}
{"key":[],"value":null}
{"value":"","key":[]})");
  auto read = readUpdates({"2:a=text", "2:b=", "2:c=0x00fF", "2:d=a=b@0x", "2:e=@" + value}, file);
  ASSERT_TRUE(read.is<kj::Array<Update>>());
  auto& updates = read.get<kj::Array<Update>>();
  ASSERT_EQ(updates.size(), 8u);
  const std::string expected[] = {"74657874",       "",     "00ff", "613d62403078",
                                  "000aff3d403078", "0aff", "",     ""};
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(hex(updates[i].value), expected[i]) << i;
  EXPECT_EQ(hex(updates[0].key), encoded({{2, "a"}}));
  EXPECT_EQ(hex(updates[5].key), encoded({{2, "u"}}));
}

// An update that is taken for a key, or a file that is not there for an empty value.
TEST(Input, RefusesWhatIsNotAnUpdate) {
  Scratch scratch;
  for (auto bad : {"2:a", "", "=", "a=b", "2:a=0x0", "2:a=0xzz"}) {
    EXPECT_TRUE(readUpdates({bad}, "").is<BadText>() || std::string(bad) == "=") << bad;
  }
  // Nothing before the equals sign is the key without parts.
  EXPECT_EQ(hex(readUpdates({"=x"}, "").get<kj::Array<Update>>()[0].key), "0000");
  EXPECT_TRUE(readUpdates({"2:a=@" + (scratch / "none")}, "").is<BadText>());
  for (auto bad : {"[]", "{}", R"({"key":[]})", R"({"value":""})", R"({"key":7,"value":""})",
                   R"({"key":[],"value":7})", R"({"key":[],"value":"0"})"}) {
    EXPECT_TRUE(readUpdates({}, scratch.file("updates", bad)).is<BadText>()) << bad;
  }
}

}  // namespace
}  // namespace ledgerctl
