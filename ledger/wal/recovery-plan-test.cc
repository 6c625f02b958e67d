// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/recovery-plan.h"

#include <gtest/gtest.h>

#include <vector>

namespace ledger {
namespace {

using From = RecoveryStart::From;
using Numbers = std::vector<uint64_t>;

Result<RecoveryPlan> plan(const Numbers& segments, const Numbers& checkpoints,
                          bool rootCheckpoint = false, const Numbers& emptySegments = {}) {
  return planRecovery({kj::arrayPtr(segments.data(), segments.size()),
                       kj::arrayPtr(checkpoints.data(), checkpoints.size()), rootCheckpoint,
                       kj::arrayPtr(emptySegments.data(), emptySegments.size())});
}

void expectPlan(Result<RecoveryPlan> result, std::vector<RecoveryStart> starts,
                uint64_t firstToCreate, uint64_t writeSegment) {
  KJ_IF_MAYBE (error, result.tryGet<Error>()) {
    FAIL() << error->message.cStr();
  }
  auto& plan = result.get<RecoveryPlan>();
  EXPECT_EQ(plan.firstSegmentToCreate, firstToCreate);
  EXPECT_EQ(plan.writeSegment, writeSegment);
  ASSERT_EQ(plan.starts.size(), starts.size());
  for (size_t i = 0; i < starts.size(); ++i) EXPECT_TRUE(plan.starts[i] == starts[i]) << i;
}

void expectRefused(Result<RecoveryPlan> result, kj::StringPtr says) {
  ASSERT_TRUE(result.is<Error>());
  EXPECT_NE(std::string(result.get<Error>().message.cStr()).find(says.cStr()), std::string::npos)
      << result.get<Error>().message.cStr();
}

RecoveryStart checkpoint(uint64_t number) {
  return {From::CHECKPOINT, number, number + 1};
}

TEST(RecoveryPlan, AnEmptyDirectoryBecomesAnEmptyLedger) {
  expectPlan(plan({}, {}), {{From::EMPTY_LEDGER, 0, 0}}, 0, 0);
}

TEST(RecoveryPlan, RootCheckpointCountsOnlyBeforeSegmentZero) {
  expectPlan(plan({}, {}, true), {{From::ROOT_CHECKPOINT, 0, 0}}, 0, 0);
  expectPlan(plan({0, 1}, {}, true), {{From::ROOT_CHECKPOINT, 0, 0}}, 2, 2);
  expectPlan(plan({0, 1}, {1}, true), {checkpoint(1), {From::ROOT_CHECKPOINT, 0, 0}}, 2, 2);
  expectPlan(plan({5, 6}, {4}, true), {checkpoint(4)}, 7, 7);
  expectRefused(plan({5, 6}, {}, true), "segments 0 to 4 are missing");
}

// Falling back must end where segments make up for the difference.
TEST(RecoveryPlan, TriesCheckpointsFromTheNewestDownToTheGap) {
  expectPlan(plan({0, 1, 2, 3}, {1, 2}), {checkpoint(2), checkpoint(1), {From::EMPTY_LEDGER, 0, 0}},
             4, 4);
  expectPlan(plan({3}, {1, 2}), {checkpoint(2)}, 4, 4);
  expectPlan(plan({3, 4, 5}, {1, 2, 4}), {checkpoint(4), checkpoint(2)}, 6, 6);
}

TEST(RecoveryPlan, ReplaysFromTheFirstSegmentWithoutAnyCheckpoint) {
  expectPlan(plan({0}, {}), {{From::EMPTY_LEDGER, 0, 0}}, 1, 1);
  expectPlan(plan({3}, {}), {{From::EMPTY_LEDGER, 0, 3}}, 4, 4);
}

// flow-go would start with the empty ledger. An older checkpoint would be an older ledger.
TEST(RecoveryPlan, WithoutSegmentsOnlyTheNewestCheckpointWillDo) {
  expectPlan(plan({}, {1, 10}, true), {checkpoint(10)}, 11, 11);
}

// flow-go would write to segment 10 and skip it at the next start.
TEST(RecoveryPlan, WritesAboveEveryCheckpointAndFillsTheGap) {
  expectPlan(plan({8, 9}, {10}), {checkpoint(10)}, 10, 11);
}

// Catches a start from an older ledger because the newest checkpoint is damaged: nothing but that
// holds what was in segment 10.
TEST(RecoveryPlan, NeverGoesBelowACheckpointWhoseOwnSegmentIsMissing) {
  const Numbers upTo9{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  expectPlan(plan(upTo9, {5, 10}), {checkpoint(10)}, 10, 11);
  expectPlan(plan(upTo9, {10}, true), {checkpoint(10)}, 10, 11);
}

// The same at every start after that one, which filled the gap with an empty segment.
TEST(RecoveryPlan, NeverGoesBelowACheckpointWhoseOwnSegmentIsEmpty) {
  expectPlan(plan({0, 1, 2, 3, 4}, {1, 3}, true, {3}), {checkpoint(3)}, 5, 5);
  expectPlan(plan({0, 1, 2, 3, 4, 5}, {1, 3, 4}, true, {3, 5}), {checkpoint(4), checkpoint(3)}, 6,
             6);
  // Empty ones that no checkpoint is named after: starts without a Set leave them.
  expectPlan(plan({0, 1, 2, 3}, {2}, true, {1, 3}), {checkpoint(2), {From::ROOT_CHECKPOINT, 0, 0}},
             4, 4);
}

TEST(RecoveryPlan, RefusesCheckpointsThatSegmentsDoNotReach) {
  expectRefused(plan({0, 1, 2}, {4}), "checkpoint 4 is above the last segment, 2");
  expectRefused(plan({9, 10}, {5, 7}), "segments 8 to 8 are missing");
}

// Every small directory: whatever the plan, a later start must read all that is on disk.
TEST(RecoveryPlan, NeverLeavesAnythingOut) {
  for (uint64_t first = 0; first < 5; ++first) {
    for (uint64_t count = 0; count < 5; ++count) {
      for (unsigned mask = 0; mask < 1024; ++mask) {
        Numbers segments, checkpoints;
        for (uint64_t i = 0; i < count; ++i) segments.push_back(first + i);
        for (uint64_t i = 0; i < 10; ++i) {
          if (mask >> i & 1) checkpoints.push_back(i);
        }
        auto result = plan(segments, checkpoints, mask & 512);
        if (result.is<Error>()) {
          EXPECT_GT(count, 0u);
          continue;
        }
        auto& made = result.get<RecoveryPlan>();
        ASSERT_GE(made.starts.size(), 1u);
        for (uint64_t n : checkpoints) EXPECT_GT(made.writeSegment, n);
        for (uint64_t n : segments) EXPECT_GT(made.writeSegment, n);
        EXPECT_LE(made.firstSegmentToCreate, made.writeSegment);
        if (count > 0) {
          EXPECT_EQ(made.firstSegmentToCreate, segments.back() + 1);
        }
        if (!checkpoints.empty()) {
          EXPECT_TRUE(made.starts[0] == checkpoint(checkpoints.back()));
        }
        for (auto& start : made.starts) {
          // No segment between the checkpoint and the first that is replayed.
          if (count == 0) continue;
          EXPECT_GE(start.replayFrom, segments.front());
          EXPECT_LE(start.replayFrom, made.writeSegment);
          // All that newer checkpoints stand for is in segments.
          if (checkpoints.empty() || start == checkpoint(checkpoints.back())) continue;
          EXPECT_LE(checkpoints.back(), segments.back());
        }
      }
    }
  }
}

}  // namespace
}  // namespace ledger
