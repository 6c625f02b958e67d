// SPDX-License-Identifier: Apache-2.0
// The forest after a restart is the forest before it: the same states in the same order, however
// Sets on several forks overlap, and however long each step takes.
//
// LEDGERD_ROUNDS: how many rounds (the long form has 500). LEDGERD_SEED: of the delays and the forks.
#include "ledger/ledger.h"
#include "tests/testing/registers.h"
#include "tests/testing/simulated-disk.h"
#include "tests/testing/watched-directory.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/encoding.h>
#include <kj/thread.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <random>
#include <vector>

#include <stdlib.h>
#include <time.h>

namespace ledger::testing {
namespace {

constexpr uint32_t CAPACITY = 3;
constexpr unsigned FORKS = 8;
constexpr unsigned SETS_PER_FORK = 6;
constexpr unsigned ROUNDS = 25;

uint64_t fromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : strtoull(text, nullptr, 10);
}

// A delay of up to 200 us at every seam: at each step on the disk, and wherever a Set asks whether
// it is still wanted. Thread: any.
class Delays final : public StepWatcher, public Stop {
public:
  explicit Delays(uint64_t seed) : random(seed) {}

  void before(const DiskStep&) override { delay(); }
  void after(const DiskStep&) override { delay(); }
  bool requested() const override {
    delay();
    return false;
  }

private:
  void delay() const {
    unsigned microseconds;
    {
      std::lock_guard lock(mutex);
      microseconds = random() % 4 == 0 ? random() % 200 : 0;
    }
    if (microseconds == 0) return;
    timespec duration = {0, long(microseconds) * 1000};
    nanosleep(&duration, nullptr);
  }

  mutable std::mutex mutex;
  mutable std::mt19937_64 random;
};

std::string describe(kj::ArrayPtr<const RootHash> states) {
  return kj::strArray(KJ_MAP(state, states) { return kj::encodeHex(state.ptr().slice(0, 4)); }, " ")
      .cStr();
}

enum class Updates { DIFFERENT, SOMETIMES_EQUAL };
enum class Checkpoints { NONE, AT_EACH_SEGMENT };

class Round {
public:
  Round(uint64_t seed, Updates updates, Checkpoints checkpoints)
      : updates(updates), checkpoints(checkpoints), delays(seed), seed(seed) {}

  // Empty, or how the two forests differ.
  std::string run() {
    kj::Array<RootHash> live;
    FileBytes beforeTheEnd;
    {
      auto ledger = open(disk);
      {
        kj::Vector<kj::Own<kj::Thread>> threads;  // Joined at the end of the block.
        for (unsigned fork = 0; fork < FORKS; ++fork) {
          threads.add(kj::heap<kj::Thread>([this, fork, &ledger = *ledger]() { go(ledger, fork); }));
        }
      }
      if (checkpoints == Checkpoints::AT_EACH_SEGMENT) {
        auto result = ledger->checkpoint(Stop::never());
        KJ_REQUIRE(result.is<uint64_t>(), result.get<Error>().message);
      }
      live = ledger->states();
      beforeTheEnd = disk.now();  // As if it were killed now, perhaps amid a checkpoint.
    }
    SimulatedDisk killed(beforeTheEnd);
    for (auto left : {&disk, &killed}) {
      auto replayed = open(*left)->states();
      if (replayed.asPtr() != live.asPtr()) {
        return describe(live) + " became " + describe(replayed);
      }
    }
    return "";
  }

  unsigned setsDone() const { return done; }
  unsigned timesEvicted() const { return evicted; }

private:
  kj::Own<Ledger> open(SimulatedDisk& disk) {
    LedgerOptions options;
    options.forestCapacity = CAPACITY;
    options.walSegmentSize = 32768;
    options.checkpoints.distance = checkpoints == Checkpoints::NONE ? 1'000'000 : 1;
    options.checkpoints.keep = 2;
    options.checkpoints.threads = 1;
    return Ledger::open(watchSteps(disk.directory(), delays), "simulated",
                        shm::MemoryBudget::create("--memory-limit", uint64_t(256) << 20),
                        kj::mv(options));
  }

  // A fork: each Set updates the state of the one before, or, once that is evicted, one that is
  // there.
  void go(const Ledger& ledger, unsigned fork) {
    std::mt19937_64 random(seed * FORKS + fork);
    auto state = ledger.initialState();
    for (unsigned i = 0; i < SETS_PER_FORK;) {
      // Equal updates of equal states: forks that meet in one state.
      const bool equal = updates == Updates::SOMETIMES_EQUAL && random() % 2 == 0;
      const uint64_t number = equal ? i : 1000 * (fork + 1) + i;
      auto key = keyOf(number % 7);
      auto value = valueOf(number, 1 + random() % 3 * (equal ? 0 : 1000));
      EncodedKey encoded = key;
      Value bytes = value;
      auto result = ledger.set(state, kj::arrayPtr(&encoded, 1), kj::arrayPtr(&bytes, 1), nullptr,
                               delays);
      KJ_IF_MAYBE (next, result.tryGet<RootHash>()) {
        state = *next;
        ++i;
        ++done;
        continue;
      }
      KJ_REQUIRE(result.get<Error>().reason == Reason::UNKNOWN_STATE,
                 result.get<Error>().message);
      ++evicted;
      auto states = ledger.states();
      state = states[random() % states.size()];
    }
  }

  const Updates updates;
  const Checkpoints checkpoints;
  Delays delays;
  const uint64_t seed;
  SimulatedDisk disk;
  std::atomic<unsigned> done = 0, evicted = 0;
};

class ForestOrder : public ::testing::Test {
protected:
  void run(Updates updates, Checkpoints checkpoints) {
    const auto seed = fromEnvironment("LEDGERD_SEED", std::random_device()());
    const auto rounds = fromEnvironment("LEDGERD_ROUNDS", ROUNDS);
    printf("LEDGERD_SEED=%llu LEDGERD_ROUNDS=%llu\n", (unsigned long long)seed,
           (unsigned long long)rounds);
    unsigned sets = 0, evicted = 0;
    for (uint64_t i = 0; i < rounds; ++i) {
      Round round(seed + i, updates, checkpoints);
      EXPECT_EQ(round.run(), "") << "in the round with LEDGERD_SEED=" << seed + i;
      if (HasFailure()) break;
      sets += round.setsDone();
      evicted += round.timesEvicted();
    }
    printf("%u Sets in %llu rounds; %u found their state evicted\n", sets,
           (unsigned long long)rounds, evicted);
    EXPECT_GT(evicted, 0u) << "no fork was ever in another one's way";
  }
};

TEST_F(ForestOrder, SurvivesARestart) { run(Updates::DIFFERENT, Checkpoints::NONE); }

TEST_F(ForestOrder, SurvivesARestartWhereForksMeet) {
  run(Updates::SOMETIMES_EQUAL, Checkpoints::NONE);
}

TEST_F(ForestOrder, SurvivesARestartFromACheckpoint) {
  run(Updates::DIFFERENT, Checkpoints::AT_EACH_SEGMENT);
}

// flow-go loses states here (KI-18).
TEST_F(ForestOrder, SurvivesARestartFromACheckpointWhereForksMeet) {
  run(Updates::SOMETIMES_EQUAL, Checkpoints::AT_EACH_SEGMENT);
}

}  // namespace
}  // namespace ledger::testing
