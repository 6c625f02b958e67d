// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/names.h"
#include "tests/golden/checkpoints/checkpoint-files.h"

#include <gtest/gtest.h>

#include <kj/vector.h>

namespace ledger::testing {
namespace {

struct GoldenFolder {
  const char* path;
  size_t checkpoints;
};

class RoundTrip : public ::testing::TestWithParam<GoldenFolder> {};

// Nodes that tries share in the files are shared again when read, so they are written once again,
// and in the same place. Catches a field left out, a wrong order or numbering, and a wrong notion
// of which node was written before.
TEST_P(RoundTrip, EveryCheckpointComesBackAsItWas) {
  SKIP_WITHOUT_GOLDEN();
  auto golden = goldenFolder(GetParam().path);
  kj::Vector<kj::String> names;
  for (auto number : listCheckpoints(*golden)) names.add(checkpointName(number));
  if (hasRootCheckpoint(*golden)) names.add(kj::str(ROOT_CHECKPOINT_NAME));
  EXPECT_EQ(names.size(), GetParam().checkpoints);
  for (auto& name : names) {
    SCOPED_TRACE(name.cStr());
    auto store = newStore();
    expectSameFiles(*golden, name, loadCheckpoint(*golden, name, *store));
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, RoundTrip,
                         ::testing::Values(GoldenFolder{"scenario-small/triedir", 2},
                                           GoldenFolder{"scenario-small/triedir-reopen", 3},
                                           GoldenFolder{"scenario-large/triedir", 1},
                                           GoldenFolder{"flow-genesis/triedir", 1},
                                           GoldenFolder{"flow-genesis/triedir-root", 1},
                                           GoldenFolder{"wal-faults/good-checkpoint", 2},
                                           GoldenFolder{"wal-faults/root-checkpoint", 1}));

}  // namespace
}  // namespace ledger::testing
