// SPDX-License-Identifier: Apache-2.0
#include "ledger/meters.h"

#include <gtest/gtest.h>

namespace ledger {
namespace {

constexpr kj::Duration BOUNDS[] = {1 * kj::MILLISECONDS, 2 * kj::MILLISECONDS};

// Prometheus's buckets include their bound.
TEST(TimeHistogram, CountsATimeAtItsBoundBelowIt) {
  TimeHistogram times(BOUNDS);
  for (auto time : {0 * kj::NANOSECONDS, 1 * kj::MILLISECONDS,
                    1 * kj::MILLISECONDS + 1 * kj::NANOSECONDS, 2 * kj::MILLISECONDS,
                    3 * kj::SECONDS}) {
    times.add(time);
  }
  EXPECT_EQ(times.count(0), 2u);
  EXPECT_EQ(times.count(1), 2u);
  EXPECT_EQ(times.count(2), 1u);
  EXPECT_EQ(times.total(), 3 * kj::SECONDS + 4 * kj::MILLISECONDS + 1 * kj::NANOSECONDS);
}

TEST(RecentTimes, TellTheDistributionOfTheLastOnes) {
  RecentTimes times;
  EXPECT_EQ(times.summary().quantile(0.99), 0 * kj::NANOSECONDS);
  for (size_t i = 0; i < RecentTimes::KEPT; ++i) times.add(1 * kj::SECONDS);
  for (size_t i = 1; i <= RecentTimes::KEPT; ++i) times.add(int64_t(i) * kj::NANOSECONDS);
  const auto summary = times.summary();
  EXPECT_EQ(summary.count, 2 * RecentTimes::KEPT);
  EXPECT_EQ(summary.last.size(), RecentTimes::KEPT);
  EXPECT_EQ(summary.quantile(0), 1 * kj::NANOSECONDS) << "the older ones do not count";
  EXPECT_EQ(summary.quantile(0.5), int64_t(RecentTimes::KEPT / 2 + 1) * kj::NANOSECONDS);
  EXPECT_EQ(summary.quantile(1), int64_t(RecentTimes::KEPT) * kj::NANOSECONDS);
  EXPECT_GT(summary.sum, int64_t(RecentTimes::KEPT) * kj::SECONDS);
}

TEST(Gauge, GoesBothWays) {
  Gauge gauge;
  gauge.add(3);
  gauge.add(-5);
  EXPECT_EQ(gauge.get(), -2);
  gauge.set(7);
  EXPECT_EQ(gauge.get(), 7);
}

}  // namespace
}  // namespace ledger
