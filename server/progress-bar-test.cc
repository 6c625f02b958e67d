// SPDX-License-Identifier: Apache-2.0
#include "server/progress-bar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace ledger::server {
namespace {

int cellsOf(const Progress& progress) {
  const std::string line = renderBar(progress).cStr();
  return std::count(line.begin(), line.end(), '#');
}

TEST(ProgressBar, GrowsFromEmptyToFull) {
  int before = 0;
  for (uint64_t done = 0; done <= 1000; ++done) {
    const int cells = cellsOf({Progress::Phase::REPLAY, done, 1000});
    EXPECT_GE(cells, before);
    before = cells;
  }
  EXPECT_EQ(cellsOf({Progress::Phase::REPLAY, 0, 1000}), 0);
  EXPECT_EQ(before, 30);
}

// A log that is appended to, or an empty one, must not overrun the line or divide by zero.
TEST(ProgressBar, StaysWithinItsLine) {
  EXPECT_EQ(cellsOf({Progress::Phase::CHECKPOINT, 0, 0}), 30);
  EXPECT_EQ(cellsOf({Progress::Phase::CHECKPOINT, 2000, 1000}), 30);
  EXPECT_LT(renderBar({Progress::Phase::REPLAY, UINT64_MAX, UINT64_MAX}).size(), 128u);
}

TEST(ProgressBar, NamesThePhaseAndTheSizes) {
  const std::string line =
      renderBar({Progress::Phase::CHECKPOINT, uint64_t(3) << 29, uint64_t(3) << 30}).cStr();
  EXPECT_NE(line.find("loading checkpoint"), std::string::npos);
  EXPECT_NE(line.find("50 %  1.5 of 3.0 GiB"), std::string::npos) << line;
}

}  // namespace
}  // namespace ledger::server
