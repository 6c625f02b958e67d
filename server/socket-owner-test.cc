// SPDX-License-Identifier: Apache-2.0
#include "server/socket-owner.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

namespace ledger::server {
namespace {

SocketOwner owner(kj::StringPtr text) {
  auto parsed = parseSocketOwner(text);
  KJ_REQUIRE(parsed.is<SocketOwner>(), text, parsed.get<kj::String>());
  return parsed.get<SocketOwner>();
}

TEST(SocketOwner, IsAUserAGroupOrBoth) {
  EXPECT_EQ(KJ_ASSERT_NONNULL(owner("1000").user), 1000u);
  EXPECT_TRUE(owner("1000").group == nullptr);
  EXPECT_EQ(KJ_ASSERT_NONNULL(owner("1000:7").user), 1000u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(owner("1000:7").group), 7u);
  EXPECT_TRUE(owner(":7").user == nullptr);
  EXPECT_EQ(KJ_ASSERT_NONNULL(owner(":7").group), 7u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(owner("4294967294").user), 4294967294u);
}

TEST(SocketOwner, MayBeNamed) {
  EXPECT_EQ(KJ_ASSERT_NONNULL(owner("root").user), 0u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(owner("root:root").group), 0u);
}

// A flag that is taken for another owner opens the socket to somebody else.
TEST(SocketOwner, WhoIsNotThereIsRefused) {
  for (auto text : {"", ":", "1000:", "no such user", "1000:no such group", "-1", "4294967295",
                    "99999999999", "1:2:3", "1000 ", "0x10"}) {
    EXPECT_TRUE(parseSocketOwner(text).is<kj::String>()) << text;
  }
}

}  // namespace
}  // namespace ledger::server
