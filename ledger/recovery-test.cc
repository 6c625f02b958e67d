// SPDX-License-Identifier: Apache-2.0
// Starts on a disk that does not read, and what a refused start says of itself.
#include "ledger/checkpoint/names.h"
#include "ledger/ledger.h"
#include "ledger/wal/segment.h"
#include "tests/testing/await.h"
#include "tests/testing/kept-warnings.h"
#include "tests/testing/registers.h"
#include "tests/testing/simulated-disk.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>

namespace ledger {
namespace {

using Damage = LedgerOptions::Damage;
using testing::FileBytes;
using testing::SimulatedDisk;

// What is left of a ledger that had a Set in each of the segments 0 to 3, and a checkpoint after
// each but the last.
class RecoveryTest : public ::testing::Test {
public:
  RecoveryTest() {
    auto ledger = open(Damage::REFUSE, 1);
    state = ledger->initialState();
    for (uint64_t number = 0; number < 4; ++number) {
      testing::Registers registers(1, 20000, number + 1);
      auto result =
          ledger->set(state, registers.keys, registers.values, nullptr, Stop::never());
      KJ_REQUIRE(result.is<RootHash>(), result.get<Error>().message);
      state = result.get<RootHash>();
      testing::await("the checkpoint's end",
                     [&]() { return ledger->stats().checkpoints.running == nullptr; });
    }
  }
  ~RecoveryTest() noexcept override {}

protected:
  kj::Own<Ledger> open(Damage damage, uint32_t checkpointDistance = 100) {
    LedgerOptions options{.reporter = warnings};
    options.damage = damage;
    options.threads = 1;
    options.walSegmentSize = 32768;
    options.checkpoints.distance = checkpointDistance;
    options.checkpoints.keep = 0;
    options.checkpoints.diskReserve = 0;
    return Ledger::open(disk->directory(), "simulated",
                        shm::MemoryBudget::create("--memory-limit", uint64_t(64) << 20),
                        kj::mv(options));
  }

  // Why a start is refused; empty if it is not.
  std::string refusalOf(Damage damage) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { open(damage); })) {
      return exception->getDescription().cStr();
    }
    return "";
  }

  static std::string newest() { return checkpointName(2).cStr(); }

  testing::KeptWarnings warnings;
  kj::Own<SimulatedDisk> disk = kj::heap<SimulatedDisk>();
  RootHash state;
};

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

// Nobody knows what is in a file that cannot be read: neither is an older checkpoint taken instead,
// nor is anything set aside. When it can be read again, nothing was lost.
TEST_F(RecoveryTest, AReadErrorIsNoDamage) {
  const auto before = disk->now();
  ASSERT_TRUE(before.count(newest()));
  for (auto damage : {Damage::REFUSE, Damage::SET_ASIDE}) {
    for (auto& name : {newest(), newest() + ".000", newest() + ".007", newest() + ".016",
                       std::string(walSegmentName(3).cStr())}) {
      const uint64_t size = before.at(name).size();
      ASSERT_GT(size, 0u) << name;
      for (uint64_t offset : {uint64_t(0), size / 2, size - 1}) {
        SCOPED_TRACE(name + " at " + std::to_string(offset));
        disk->failReads(name, offset);
        auto refusal = refusalOf(damage);
        EXPECT_TRUE(says(refusal, "file " + name + " cannot be read at offset ")) << refusal;
        disk->failReads("");
        EXPECT_EQ(disk->now(), before);
      }
    }
  }
  EXPECT_TRUE(open(Damage::SET_ASIDE)->hasState(state));
  EXPECT_EQ(warnings.take(), std::vector<std::string>{});
}

// Somebody puts a checkpoint in place that cannot be started from: before the start, or, after the
// damaged one was seen, while it is set aside.
TEST_F(RecoveryTest, ARefusalSaysWhetherAnythingWasChanged) {
  auto files = disk->now();
  const std::string far = checkpointName(99).cStr();
  files[newest() + ".003"][5] ^= 1;

  auto withFar = files;
  withFar[far] = "";
  disk = kj::heap<SimulatedDisk>(withFar);
  auto refusal = refusalOf(Damage::SET_ASIDE);
  EXPECT_TRUE(says(refusal, "checkpoint 99 is above the last segment")) << refusal;
  EXPECT_TRUE(says(refusal, "Nothing was changed.")) << refusal;
  EXPECT_EQ(disk->now(), withFar);

  disk = kj::heap<SimulatedDisk>(files);
  bool isThere = false;
  disk->onStep([&](const testing::DiskStep& step) {
    if (isThere || step.operation != testing::Operation::RENAME) return;
    isThere = true;
    disk->directory()->openFile(kj::Path(far.c_str()), kj::WriteMode::CREATE);
  });
  warnings.take();
  refusal = refusalOf(Damage::SET_ASIDE);
  EXPECT_TRUE(says(refusal, "checkpoint 99 is above the last segment")) << refusal;
  EXPECT_FALSE(says(refusal, "Nothing was changed")) << refusal;
  EXPECT_TRUE(says(refusal, "set aside")) << refusal;
  EXPECT_TRUE(disk->now().count("damaged-" + newest() + ".bak"));
  EXPECT_GT(warnings.take().size(), 0u);
}

}  // namespace
}  // namespace ledger
