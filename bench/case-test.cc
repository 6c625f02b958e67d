// SPDX-License-Identifier: Apache-2.0
#include "bench/case.h"

#include <gtest/gtest.h>
#include <kj/exception.h>

namespace ledger::bench {
namespace {

TEST(ParseCase, TakesALineOfFourWords) {
  auto parsed = parseCase("  get-100   get\t100 1000  # with a comment");
  KJ_IF_MAYBE (found, parsed) {
    EXPECT_STREQ(found->name.cStr(), "get-100");
    EXPECT_STREQ(found->operation.cStr(), "get");
    EXPECT_EQ(found->size, 100u);
    EXPECT_EQ(found->samples, 1000u);
  } else {
    FAIL();
  }
}

TEST(ParseCase, PassesOverLinesWithoutOne) {
  for (auto line : {"", "   ", "# get-100 get 100 1000"}) {
    EXPECT_TRUE(parseCase(line) == nullptr) << line;
  }
}

// A mistyped line that was passed over would leave its row out of the table without a word.
TEST(ParseCase, ThrowsAtAnythingElse) {
  for (auto line : {"get", "get get 1", "get get 1 x", "get get 1 2 3", "get get x 1"}) {
    EXPECT_THROW(parseCase(line), kj::Exception) << line;
  }
}

}  // namespace
}  // namespace ledger::bench
