// SPDX-License-Identifier: Apache-2.0
// Checkpoints as an operator meets them: on demand, by themselves, and at the next start.

#include "tests/integration/daemon-fixture.h"

#include <kj/async-io.h>

namespace ledger::testing {
namespace {

class Checkpoints : public DaemonTest {};

TEST_F(Checkpoints, AreWrittenOnDemandAndUsedByTheNextStart) {
  startDaemon({"--disk-reserve", "0"});
  auto ledger = connect();
  Registers registers(20, 1000);
  const RootHash state =
      answer(ledger->set(answer(ledger->initialState()), registers.keys, registers.values));
  EXPECT_EQ(answer(ledger->checkpoint()), 0u);

  const auto info = answer(ledger->info());
  KJ_IF_MAYBE (newest, info.checkpoints.newest) {
    EXPECT_EQ(*newest, 0u);
  } else {
    ADD_FAILURE() << "info knows no checkpoint";
  }
  EXPECT_TRUE(info.checkpoints.running == nullptr);
  EXPECT_EQ(info.checkpoints.failure.size(), 0u);
  EXPECT_EQ(info.log.state, client::ServerInfo::Log::State::GOOD);

  // Without the log, the checkpoint is all there is.
  EXPECT_TRUE(daemon->stop().cleanly());
  for (auto& segment : segmentsOf(scratch / "triedir")) {
    KJ_SYSCALL(unlink((scratch / ("triedir/" + segment)).c_str()));
  }
  startDaemon();
  ledger = connect();
  auto values = answer(ledger->get(state, registers.keys));
  for (size_t i = 0; i < values.size(); ++i) EXPECT_TRUE(values[i] == registers.values[i]);
}

// Segments of one page, a checkpoint for each: Sets go on while they are written, and a start after
// a kill finds every acknowledged state.
TEST_F(Checkpoints, GoOnUnderSetsAndSurviveAKill) {
  const std::vector<std::string> flags = {"--wal-segment-size", "32KiB", "--checkpoint-distance",
                                          "1", "--checkpoints-to-keep", "2", "--wal-retention",
                                          "--disk-reserve", "0"};
  startDaemon(flags);
  auto ledger = connect();
  kj::Vector<RootHash> acknowledged;
  acknowledged.add(answer(ledger->initialState()));
  for (uint64_t i = 0; i < 60; ++i) {
    Registers some(10, 1500, 100 * i);
    acknowledged.add(answer(ledger->set(acknowledged.back(), some.keys, some.values)));
  }
  EXPECT_TRUE(eventually([&]() { return answer(ledger->info()).checkpoints.newest != nullptr; }));
  daemon->kill();
  startDaemon(flags);
  ledger = connect();
  for (auto& state : acknowledged) EXPECT_TRUE(answer(ledger->hasState(state)));
}

}  // namespace
}  // namespace ledger::testing
