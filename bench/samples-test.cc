// SPDX-License-Identifier: Apache-2.0
#include "bench/samples.h"

#include <gtest/gtest.h>
#include <kj/exception.h>

namespace ledger::bench {
namespace {

// A rank that is off by one, or samples taken in the order they came, would give another number.
TEST(Samples, PercentilesAreByNearestRank) {
  Samples samples;
  for (int i = 100; i > 0; --i) samples.add(std::chrono::microseconds(i));
  EXPECT_EQ(samples.percentile(0.50), 50);
  EXPECT_EQ(samples.percentile(0.99), 99);
  EXPECT_EQ(samples.percentile(1.00), 100);
  EXPECT_EQ(samples.percentile(0.00), 1);
}

TEST(Samples, OneSampleIsEveryPercentile) {
  Samples samples;
  samples.add(std::chrono::nanoseconds(1500));
  EXPECT_EQ(samples.percentile(0.50), 1.5);
  EXPECT_EQ(samples.percentile(0.99), 1.5);
}

TEST(Samples, NoneHaveNoPercentile) {
  EXPECT_THROW(Samples().percentile(0.50), kj::Exception);
}

}  // namespace
}  // namespace ledger::bench
