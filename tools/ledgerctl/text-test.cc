// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/text.h"

#include "ledger/encoding.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

#include <string>

namespace ledgerctl {
namespace {

// A unit that is off by one, or "1024.0 KiB".
TEST(Text, Sizes) {
  const std::pair<uint64_t, const char*> SIZES[] = {
      {0, "0 bytes"},           {1, "1 byte"},
      {1023, "1023 bytes"},     {1024, "1.0 KiB"},
      {1536, "1.5 KiB"},        {(1 << 20) - 1, "1.0 MiB"},
      {1 << 20, "1.0 MiB"},     {uint64_t(5) << 30, "5.0 GiB"},
      {UINT64_MAX, "16.0 EiB"},
  };
  for (auto& [bytes, text] : SIZES) EXPECT_STREQ(sizeText(bytes).cStr(), text);
}

// Control characters on somebody's terminal, or a megabyte of hex.
TEST(Text, Previews) {
  auto preview = [](const std::string& bytes) {
    return std::string(previewText(kj::arrayPtr(bytes.data(), bytes.size()).asBytes()).cStr());
  };
  EXPECT_EQ(preview(""), "(empty)");
  EXPECT_EQ(preview("hello"), "\"hello\"");
  EXPECT_EQ(preview("a\x1b[2J"), "0x611b5b324a");
  EXPECT_EQ(preview("caf\xc3\xa9"), "0x636166c3a9");
  EXPECT_EQ(preview(std::string(48, 'x')), "\"" + std::string(48, 'x') + "\"");
  EXPECT_EQ(preview(std::string(49, 'x')), "\"" + std::string(48, 'x') + "\"...");
  EXPECT_EQ(preview(std::string(1 << 20, '\0')), "0x" + std::string(96, '0') + "...");
}

TEST(Text, Keys) {
  const ledger::KeyPart parts[] = {{0, nullptr}, {2, "uuid"_kj.asBytes()}};
  auto encoded = ledger::encodeKey(parts);
  EXPECT_STREQ(keyText(encoded.get<kj::Array<kj::byte>>()).cStr(), "0:/2:uuid");
  const kj::byte broken[] = {0, 1, 0};
  EXPECT_STREQ(keyText(broken).cStr(), "(encoded key 0x000100)");
}

// The condition in the source says nothing to an operator; all that follows may.
TEST(Text, FaultsWithoutTheCondition) {
  kj::String file = kj::str("00000001");
  auto caught = kj::runCatchingExceptions(
      [&]() { KJ_REQUIRE(file.size() == 3, "not a segment; rename it", file); });
  EXPECT_EQ(faultText(KJ_ASSERT_NONNULL(caught)), "not a segment; rename it; file = 00000001"_kj);
  caught = kj::runCatchingExceptions([&]() { KJ_FAIL_REQUIRE("gone", file); });
  EXPECT_EQ(faultText(KJ_ASSERT_NONNULL(caught)), "gone; file = 00000001"_kj);
}

TEST(Text, Padding) {
  EXPECT_EQ(padded(7, 3), "  7"_kj);
  EXPECT_EQ(padded(1234, 3), "1234"_kj);
}

// Names that scripts compare with: each number has its own.
TEST(Text, CodesAndReasonsHaveNames) {
  for (int number = 1; number <= 18; ++number) {
    EXPECT_NE(reasonName(static_cast<ledger::Reason>(number)), "UNSPECIFIED"_kj) << number;
  }
  EXPECT_EQ(reasonName(ledger::Reason::UNKNOWN_STATE), "UNKNOWN_STATE"_kj);
  EXPECT_EQ(codeName(ledger::Code::NOT_FOUND), "NOT_FOUND"_kj);
}

}  // namespace
}  // namespace ledgerctl
