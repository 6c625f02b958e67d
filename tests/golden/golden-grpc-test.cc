// SPDX-License-Identifier: Apache-2.0
// What flow-go's ledger service answered over gRPC, asked of ledgerd; also under the sanitizers.

#include "tests/golden/grpc-calls.h"
#include "tests/testing/ledgerd-process.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>

#include <stdlib.h>

namespace ledger::golden {
namespace {

// Would catch any byte of an answer, and any code or text of a refusal, that is not flow-go's.
TEST(GoldenGrpc, AnswersAsFlowGosService) {
  const char* folder = getenv("LEDGERD_GOLDEN");
  if (folder == nullptr) {
    GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data";
  }
  auto io = kj::setupAsyncIo();
  Report report;
  runGrpcCalls(io, testing::ledgerdBinary(), std::string(folder) + "/grpc", report);
  EXPECT_EQ(report.finish(), 0);
}

}  // namespace
}  // namespace ledger::golden
