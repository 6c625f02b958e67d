// SPDX-License-Identifier: Apache-2.0
#include "shm/span-allocator.h"

#include <kj/debug.h>

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

namespace shm {
namespace {

constexpr uint64_t UNIT = SpanAllocator::ALIGNMENT;

// The same rules, one flag per unit.
class Model {
public:
  explicit Model(size_t units) : used(units, false) {}

  // Start of the smallest run of at least `units` free ones, or -1.
  int bestFit(size_t units) const {
    int best = -1;
    size_t bestSize = used.size() + 1;
    for (size_t at = 0; at < used.size();) {
      size_t end = at;
      while (end < used.size() && !used[end]) ++end;
      if (end - at >= units && end - at < bestSize) {
        best = static_cast<int>(at);
        bestSize = end - at;
      }
      at = end + 1;
    }
    return best;
  }

  void mark(size_t start, size_t units, bool value) {
    for (size_t i = start; i < start + units; ++i) used[i] = value;
  }

  void expectSame(const SpanAllocator& spans) const {
    uint64_t free = 0, runs = 0, largest = 0, run = 0;
    for (size_t i = 0; i <= used.size(); ++i) {
      if (i < used.size() && !used[i]) {
        ++free;
        if (run++ == 0) ++runs;
        largest = std::max(largest, run);
      } else {
        run = 0;
      }
    }
    ASSERT_EQ(spans.free(), free * UNIT);
    ASSERT_EQ(spans.freeSpans(), runs);  // More: neighbours that did not coalesce.
    ASSERT_EQ(spans.largestFree(), largest * UNIT);
  }

private:
  std::vector<bool> used;
};

void explore(const SpanAllocator& spans, const Model& model, const std::vector<Span>& lent,
             size_t capacity, unsigned depth) {
  if (depth == 0) return;
  for (size_t units = 1; units <= capacity; ++units) {
    SpanAllocator next = spans;
    Model nextModel = model;
    auto nextLent = lent;
    // Odd lengths: one byte less than whole units.
    const uint64_t length = units * UNIT - units % 2;
    const int expected = nextModel.bestFit(units);
    KJ_IF_MAYBE (span, next.take(length)) {
      ASSERT_EQ(span->offset, expected * UNIT);
      ASSERT_EQ(span->length, length);
      nextModel.mark(expected, units, true);
      nextLent.push_back(*span);
    } else {
      ASSERT_EQ(expected, -1);
    }
    nextModel.expectSame(next);
    if (testing::Test::HasFatalFailure()) return;
    if (expected >= 0) explore(next, nextModel, nextLent, capacity, depth - 1);
    if (testing::Test::HasFatalFailure()) return;
  }
  for (size_t i = 0; i < lent.size(); ++i) {
    SpanAllocator next = spans;
    Model nextModel = model;
    auto nextLent = lent;
    nextLent.erase(nextLent.begin() + i);
    next.giveBack(lent[i]);
    nextModel.mark(lent[i].offset / UNIT, (lent[i].length + UNIT - 1) / UNIT, false);
    nextModel.expectSame(next);
    ASSERT_THROW(next.giveBack(lent[i]), kj::Exception);
    nextModel.expectSame(next);
    if (testing::Test::HasFatalFailure()) return;
    explore(next, nextModel, nextLent, capacity, depth - 1);
  }
}

// Every sequence of up to six takes and returns in a capacity of five units. Catches an overlap,
// a lost unit, neighbours that do not coalesce, a wrong fit, a double return that is not noticed.
TEST(SpanAllocator, AgreesWithAFlagPerUnitOnEverySequence) {
  explore(SpanAllocator(5 * UNIT), Model(5), {}, 5, 6);
}

// The same on long sequences in a larger capacity, where the small space has no deep shapes.
TEST(SpanAllocator, AgreesWithAFlagPerUnitOnLongSequences) {
  constexpr size_t UNITS = 97;
  std::mt19937_64 random(20240229);
  SpanAllocator spans(UNITS * UNIT);
  Model model(UNITS);
  std::vector<Span> lent;
  for (unsigned step = 0; step < 20000; ++step) {
    if (random() % 2 == 0) {
      const size_t units = 1 + random() % (random() % 8 == 0 ? UNITS : 9);
      const int expected = model.bestFit(units);
      KJ_IF_MAYBE (span, spans.take(units * UNIT)) {
        ASSERT_EQ(span->offset, expected * UNIT);
        model.mark(expected, units, true);
        lent.push_back(*span);
      } else {
        ASSERT_EQ(expected, -1);
      }
    } else if (!lent.empty()) {
      std::swap(lent[random() % lent.size()], lent.back());
      spans.giveBack(lent.back());
      model.mark(lent.back().offset / UNIT, lent.back().length / UNIT, false);
      lent.pop_back();
    }
    model.expectSame(spans);
    if (HasFatalFailure()) return;
  }
  for (auto& span : lent) spans.giveBack(span);
  EXPECT_EQ(spans.free(), UNITS * UNIT);
  EXPECT_EQ(spans.freeSpans(), 1u);
}

// Catches lengths that wrap around when they are rounded up or added to an offset.
TEST(SpanAllocator, RefusesAbsurdLengths) {
  constexpr uint64_t MOST = std::numeric_limits<uint64_t>::max();
  SpanAllocator spans(4 * UNIT);
  for (uint64_t length : {4 * UNIT + 1, MOST, MOST - UNIT, MOST - UNIT + 2, MOST / 2 + 1}) {
    EXPECT_TRUE(spans.take(length) == nullptr) << length;
  }
  EXPECT_THROW(spans.take(0), kj::Exception);

  SpanAllocator huge(0 - UNIT);  // The largest capacity there can be.
  auto whole = KJ_ASSERT_NONNULL(huge.take(0 - UNIT));
  EXPECT_EQ(huge.free(), 0u);
  huge.giveBack(whole);
  EXPECT_EQ(huge.free(), 0 - UNIT);
}

TEST(SpanAllocator, RefusesSpansThatItCannotHaveLent) {
  SpanAllocator spans(4 * UNIT);
  auto whole = KJ_ASSERT_NONNULL(spans.take(4 * UNIT));
  Span bad[] = {{1, UNIT},        {0, 0},           {4 * UNIT, UNIT},    {0, 4 * UNIT + 1},
                {UNIT, 0 - UNIT}, {0 - UNIT, UNIT}, {0 - UNIT, 2 * UNIT}};
  for (auto& span : bad) {
    EXPECT_THROW(spans.giveBack(span), kj::Exception) << span.offset << " " << span.length;
  }
  EXPECT_EQ(spans.free(), 0u);
  spans.giveBack(whole);
  EXPECT_THROW(SpanAllocator(0), kj::Exception);
  EXPECT_THROW(SpanAllocator(UNIT + 1), kj::Exception);
}

}  // namespace
}  // namespace shm
