// SPDX-License-Identifier: Apache-2.0
#include "client/backoff.h"

#include <kj/exception.h>

#include <gtest/gtest.h>

namespace ledger::client {
namespace {

// Fills with one byte: 0x00 draws the shortest wait, 0xff the longest, 0x80 the middle.
class Constant final : public RandomSource {
public:
  explicit Constant(kj::byte fill) : value(fill) {}
  void fill(kj::ArrayPtr<kj::byte> out) override { memset(out.begin(), value, out.size()); }

private:
  kj::byte value;
};

double milliseconds(kj::Duration duration) {
  return (duration / kj::MICROSECONDS) / 1000.0;
}

// A wrong factor, or a ceiling that a long outage passes (or that overflows).
TEST(Backoff, GrowsByHalfUpToTheCeiling) {
  Constant middle(0x80);
  Backoff backoff({.jitter = 0}, middle);
  double expected = 100;
  for (int attempt = 0; attempt < 2000; ++attempt) {
    SCOPED_TRACE(attempt);
    EXPECT_NEAR(milliseconds(backoff.next()), expected, 0.01);
    expected = kj::min(expected * 1.5, 30000.0);
  }
}

// Jitter that is one-sided, missing, or lifts a wait over the ceiling.
TEST(Backoff, SpreadsEachWaitAroundItsMiddle) {
  Constant low(0x00), high(0xff);
  Backoff shortest({}, low), longest({}, high);
  double middle = 100;
  for (int attempt = 0; attempt < 100; ++attempt) {
    SCOPED_TRACE(attempt);
    EXPECT_NEAR(milliseconds(shortest.next()), middle * 0.8, 0.01);
    EXPECT_NEAR(milliseconds(longest.next()), kj::min(middle * 1.2, 30000.0), 0.01);
    middle = kj::min(middle * 1.5, 30000.0);
  }
}

// Options that would spin without a pause, or shrink.
TEST(Backoff, RefusesOptionsThatMakeNoSense) {
  auto& random = RandomSource::system();
  for (auto& bad : {
           Backoff::Options{.first = 0 * kj::SECONDS},
           Backoff::Options{.first = 31 * kj::SECONDS},
           Backoff::Options{.factor = 0.5},
           Backoff::Options{.jitter = 1},
           Backoff::Options{.jitter = -0.1},
       }) {
    EXPECT_TRUE(kj::runCatchingExceptions([&]() { Backoff(bad, random); }) != nullptr);
  }
}

// A source that leaves part of a buffer unfilled: Set ids would then repeat.
TEST(RandomSource, FillsTheWholeBuffer) {
  kj::byte seen[4096] = {};
  for (int i = 0; i < 16; ++i) {
    kj::byte drawn[sizeof(seen)] = {};
    RandomSource::system().fill(drawn);
    for (size_t j = 0; j < sizeof(seen); ++j) seen[j] |= drawn[j];
  }
  // Sixteen zero draws in a row for one byte: 1 in 2^128.
  for (auto byte : seen) EXPECT_NE(byte, 0);
}

}  // namespace
}  // namespace ledger::client
