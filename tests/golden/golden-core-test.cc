// SPDX-License-Identifier: Apache-2.0
// flow-go's golden data through the core, in whatever configuration the tests run in: under the
// sanitizers this is where the core meets real data. tools/golden runs all of it, and ledgerd too.

#include "tests/golden/core-ledger.h"
#include "tests/golden/golden-sets.h"

#include <gtest/gtest.h>

#include <stdlib.h>

namespace ledger::golden {
namespace {

class GoldenData : public ::testing::TestWithParam<const char*> {};

// Would catch any answer, root, proof, log byte or reloaded forest that is not flow-go's.
TEST_P(GoldenData, GivesFlowGosAnswersInTheCore) {
  const char* folder = getenv("LEDGERD_GOLDEN");
  if (folder == nullptr) {
    GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data";
  }
  auto ways = kj::arr(newCoreLedger());
  Report report;
  runGolden(std::string(folder) + "/" + GetParam(), ways, report,
            [](const std::string& calls) { ADD_FAILURE() << calls << " is not for the core"; });
  EXPECT_EQ(report.finish(), 0);
}

// scenario-large is too much for a sanitizer's pace.
INSTANTIATE_TEST_SUITE_P(Sets, GoldenData,
                         ::testing::Values("scenario-small", "flow-genesis", "flow-blocks",
                                           "wal-faults"));

}  // namespace
}  // namespace ledger::golden
