// SPDX-License-Identifier: Apache-2.0
#include "bench/workload.h"

#include "ledger/encoding.h"

#include <gtest/gtest.h>
#include <kj/encoding.h>

#include <set>

namespace ledger::bench {
namespace {

// The same numbers are in flow-go/workload_test.go: with other registers, or other picks, the two
// sides of the comparison would not do the same work.
TEST(Workload, IsTheOneThatWasSpecified) {
  const Workload workload{.seed = 1, .registers = 1000};

  auto key = workload.key(7);
  auto decoded = decodeKey(key);
  auto& parts = decoded.get<kj::Array<KeyPart>>();
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].type, 0);
  EXPECT_STREQ(kj::encodeHex(parts[0].value).cStr(), "bc8c16ba23ce253f");
  EXPECT_EQ(parts[1].type, 2);
  EXPECT_STREQ(kj::encodeHex(parts[1].value).cStr(),
               "6d02c6e68d3eedc184f839807de2ff5b75c92b91c872");
  EXPECT_STREQ(kj::encodeHex(workload.value(7, 1, 13)).cStr(), "cff3077e90983a73b9675f8f9b");

  auto picks = workload.picks("get-100", 2);
  for (uint64_t want : {289, 22, 896, 950, 602}) EXPECT_EQ(picks.one(), want);
}

// A register twice in one Set would be one update less than the case says.
TEST(Picks, AreDistinctEvenWhenAllRegistersAreAskedFor) {
  const Workload workload{.seed = 1, .registers = 50};
  auto all = workload.picks("any", 0).distinct(50);
  EXPECT_EQ(std::set<uint64_t>(all.begin(), all.end()).size(), 50u);
  EXPECT_THROW(workload.picks("any", 0).distinct(51), kj::Exception);
}

// The pieces of a request must be the keys and values one by one.
TEST(Workload, ListsAreTheItemsOneByOne) {
  const Workload workload{.seed = 3, .registers = 10};
  const uint64_t registers[] = {4, 9, 4};
  auto keys = workload.keys(kj::arrayPtr(registers, 3));
  auto values = workload.values(kj::arrayPtr(registers, 3), 2);
  ASSERT_EQ(keys.items.size(), 3u);
  ASSERT_EQ(values.items.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(keys.items[i] == workload.key(registers[i]).asPtr());
    EXPECT_TRUE(values.items[i] == workload.value(registers[i], 2).asPtr());
  }
}

}  // namespace
}  // namespace ledger::bench
