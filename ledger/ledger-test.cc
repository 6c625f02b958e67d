// SPDX-License-Identifier: Apache-2.0
#include "ledger/ledger.h"

#include "ledger/checkpoint/checkpoint-testing.h"
#include "ledger/encoding.h"
#include "ledger/proof/verify.h"
#include "ledger/wal/wal-testing.h"
#include "tests/testing/await.h"
#include "tests/testing/kept-warnings.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/thread.h>

#include <atomic>
#include <random>
#include <string>
#include <vector>

namespace ledger {
namespace {

class StopAtOnce final : public Stop {
public:
  bool requested() const override { return true; }
};

kj::Array<kj::byte> keyOf(kj::StringPtr name) {
  KeyPart part{2, name.asBytes()};
  auto encoded = encodeKey(kj::arrayPtr(&part, 1));
  return kj::mv(encoded.get<kj::Array<kj::byte>>());
}

// A ledger over a directory in memory that can be closed and opened again.
class LedgerTest : public ::testing::Test {
public:
  ~LedgerTest() noexcept override {}

protected:
  void open(uint32_t capacity = 100, uint64_t memoryLimit = uint64_t(1) << 30) {
    ledger = nullptr;
    LedgerOptions options{.reporter = warnings};
    options.forestCapacity = capacity;
    options.walSync = walSync;
    options.threads = threads;
    options.trust = trust;
    options.walSegmentSize = 4 * 32768;
    ledger =
        Ledger::open(testing::newFaultyDirectory(directory->clone(), faults), "test",
                     shm::MemoryBudget::create("--memory-limit", memoryLimit), kj::mv(options));
  }

  Result<RootHash> set(const RootHash& state, kj::StringPtr name, kj::StringPtr value,
                       kj::Maybe<SetId> id = nullptr, const Stop& stop = Stop::never()) {
    auto key = keyOf(name);
    EncodedKey encoded = key;
    Value bytes = value.asBytes();
    return ledger->set(state, kj::arrayPtr(&encoded, 1), kj::arrayPtr(&bytes, 1), id, stop);
  }

  RootHash mustSet(const RootHash& state, kj::StringPtr name, kj::StringPtr value) {
    auto result = set(state, name, value);
    KJ_REQUIRE(result.is<RootHash>(), result.get<Error>().message);
    return result.get<RootHash>();
  }

  std::string get(const RootHash& state, kj::StringPtr name) {
    auto key = keyOf(name);
    EncodedKey encoded = key;
    auto result = ledger->get(state, kj::arrayPtr(&encoded, 1), Stop::never());
    KJ_REQUIRE(result.is<Values>(), result.get<Error>().message);
    auto value = result.get<Values>().values[0];
    return std::string(value.begin(), value.end());
  }

  uint64_t logBytes() {
    uint64_t bytes = 0;
    for (auto& name : directory->listNames()) {
      if (name != ".lock") bytes += directory->lstat(kj::Path(name)).size;
    }
    return bytes;
  }

  kj::Own<const kj::Directory> directory = kj::newInMemoryDirectory(kj::nullClock());
  testing::Faults faults;
  SyncPolicy walSync;
  unsigned threads = 2;
  LedgerOptions::Trust trust = LedgerOptions::Trust::HASHES;
  kj::Own<Ledger> ledger;
  testing::KeptWarnings warnings;
};

TEST_F(LedgerTest, AnEmptyDirectoryBecomesALedger) {
  open();
  EXPECT_EQ(ledger->stateCount(), 1u);
  EXPECT_TRUE(ledger->hasState(ledger->initialState()));
  EXPECT_EQ(get(ledger->initialState(), "a"), "");
}

TEST_F(LedgerTest, EveryAcknowledgedStateIsThereAfterARestart) {
  open();
  auto state = ledger->initialState();
  std::vector<RootHash> states{state};
  for (int i = 0; i < 40; ++i) {
    // Values of up to two pages, so that records cross pages and segments.
    state = mustSet(state, kj::str("key", i % 7), kj::str(kj::repeat('v', i * 1700)));
    states.push_back(state);
  }
  auto before = ledger->states();
  open();
  auto after = ledger->states();
  EXPECT_TRUE(before.asPtr() == after.asPtr());
  for (auto& root : states) EXPECT_TRUE(ledger->hasState(root));
  EXPECT_EQ(get(state, "key4"), std::string(39 * 1700, 'v'));
  EXPECT_TRUE(warnings.take().empty());
}

TEST_F(LedgerTest, AFailedSetLeavesNothingInTheLog) {
  open(2);
  auto first = mustSet(ledger->initialState(), "a", "1");
  auto second = mustSet(first, "a", "2");
  auto bytes = logBytes();

  EXPECT_EQ(set(ledger->initialState(), "a", "3").get<Error>().reason, Reason::UNKNOWN_STATE)
      << "the initial state has been evicted";
  EXPECT_EQ(set(second, "a", "3", nullptr, StopAtOnce()).get<Error>().reason, Reason::CANCELLED);
  kj::byte broken[] = {0, 1, 0};
  EncodedKey key = broken;
  Value value = "x"_kj.asBytes();
  EXPECT_EQ(
      ledger->set(second, kj::arrayPtr(&key, 1), kj::arrayPtr(&value, 1), nullptr, Stop::never())
          .get<Error>()
          .reason,
      Reason::BAD_KEY);
  EXPECT_EQ(ledger->set(second, kj::arrayPtr(&key, 1), nullptr, nullptr, Stop::never())
                .get<Error>()
                .reason,
            Reason::BAD_REQUEST);

  EXPECT_EQ(logBytes(), bytes);
  open(2);
  EXPECT_TRUE(ledger->hasState(second));
}

TEST_F(LedgerTest, ASetThatDoesNotFitIntoMemoryIsRefusedWithFigures) {
  open(100, 8 << 20);
  auto state = mustSet(ledger->initialState(), "a", "1");
  auto bytes = logBytes();
  auto result = set(state, "b", kj::str(kj::repeat('v', 9 << 20)));
  auto& error = result.get<Error>();
  EXPECT_EQ(error.reason, Reason::OUT_OF_MEMORY);
  EXPECT_EQ(error.code, Code::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(std::string(error.message.cStr()).find("--memory-limit") != std::string::npos)
      << error.message.cStr();
  EXPECT_EQ(logBytes(), bytes);
  mustSet(state, "b", "small values still fit");
}

// A retry after a lost answer must not be logged twice.
TEST_F(LedgerTest, ASetWithAKnownIdIsNotExecutedAgain) {
  open();
  SetId id{1, 2, 3};
  auto first = set(ledger->initialState(), "a", "1", id).get<RootHash>();
  auto bytes = logBytes();
  EXPECT_EQ(set(ledger->initialState(), "a", "1", id).get<RootHash>(), first);
  EXPECT_EQ(logBytes(), bytes);
  EXPECT_EQ(set(ledger->initialState(), "a", "2", id).get<Error>().reason, Reason::SET_ID_REUSED);
}

TEST_F(LedgerTest, AFailedSetsIdMayBeUsedAgain) {
  open();
  SetId id{1};
  EXPECT_TRUE(set(ledger->initialState(), "a", "1", id, StopAtOnce()).is<Error>());
  EXPECT_TRUE(set(ledger->initialState(), "a", "1", id).is<RootHash>());
}

TEST_F(LedgerTest, EmptyQueriesAreAnsweredWhateverTheState) {
  open();
  RootHash nowhere;
  EXPECT_EQ(ledger->get(nowhere, nullptr, Stop::never()).get<Values>().values.size(), 0u);
  EXPECT_EQ(ledger->prove(nowhere, nullptr, Stop::never()).get<BatchProof>().encodedSize(), 7u);
  EXPECT_EQ(ledger->set(nowhere, nullptr, nullptr, nullptr, Stop::never()).get<RootHash>(),
            nowhere);
  auto key = keyOf("a");
  EncodedKey encoded = key;
  auto keys = kj::arrayPtr(&encoded, 1);
  EXPECT_EQ(ledger->get(nowhere, keys, Stop::never()).get<Error>().reason, Reason::UNKNOWN_STATE);
  EXPECT_EQ(ledger->prove(nowhere, keys, Stop::never()).get<Error>().reason, Reason::UNKNOWN_STATE);
}

TEST_F(LedgerTest, StatesAreCountedFromBothEnds) {
  open();
  auto first = mustSet(ledger->initialState(), "a", "1");
  EXPECT_EQ(ledger->stateByIndex(0).get<RootHash>(), ledger->initialState());
  EXPECT_EQ(ledger->stateByIndex(-1).get<RootHash>(), first);
  EXPECT_EQ(ledger->stateByIndex(-2).get<RootHash>(), ledger->initialState());
  for (int64_t index : {2, -3}) {
    EXPECT_EQ(ledger->stateByIndex(index).get<Error>().reason, Reason::INDEX_OUT_OF_RANGE);
  }
}

// A full disk: the Set fails, nothing of it is in the log, and the next one that fits succeeds.
TEST_F(LedgerTest, AFailedWriteFailsItsSetAlone) {
  open();
  auto first = mustSet(ledger->initialState(), "a", "1");
  faults.writes = 0;
  faults.shortWrite = 20;
  auto refused = set(first, "a", "2");
  EXPECT_EQ(refused.get<Error>().reason, Reason::WRITE_FAILED);
  EXPECT_EQ(get(first, "a"), "1") << "reads go on";
  EXPECT_EQ(ledger->stateCount(), 2u);
  faults = {};
  auto third = mustSet(first, "a", "3");
  auto before = ledger->states();
  open();
  EXPECT_TRUE(ledger->states().asPtr() == before.asPtr());
  EXPECT_EQ(get(third, "a"), "3");
}

// After a failed fsync nobody knows what is on disk: no Set is acknowledged until a restart.
TEST_F(LedgerTest, AFailedSyncEndsSetsUntilARestart) {
  open();
  auto first = mustSet(ledger->initialState(), "a", "1");
  faults.datasyncs = 0;
  EXPECT_EQ(set(first, "a", "2").get<Error>().reason, Reason::WRITE_FAILED);
  faults = {};
  EXPECT_EQ(set(first, "a", "3").get<Error>().reason, Reason::WRITE_FAILED);
  EXPECT_EQ(get(first, "a"), "1") << "reads go on";
  open();
  EXPECT_EQ(get(first, "a"), "1");
  mustSet(first, "a", "4");
}

// What a reader holds outlives the state's eviction.
TEST_F(LedgerTest, APinnedStateStaysReadable) {
  open(1);
  auto state = mustSet(ledger->initialState(), "a", "kept");
  auto pin = ledger->pin(state);
  const auto& pinned = pin.get<kj::Own<const Trie>>();
  for (int i = 0; i < 50; ++i) state = mustSet(state, "a", kj::str(i));
  auto key = keyOf("a");
  auto value = Ledger::getSingleValue(*pinned, key).get<Value>();
  EXPECT_EQ(std::string(value.begin(), value.end()), "kept");
}

// Chains of Sets, forks, reads and proofs from many threads, with a forest so small that parents
// are evicted under the Sets' feet. Every answer is right, and the log replays to the same forest:
// no record names a parent that is not there at its place.
TEST_F(LedgerTest, ThreadsAgreeWithTheLog) {
  constexpr unsigned CAPACITY = 6;
  open(CAPACITY);
  std::atomic<unsigned> sets{0}, evicted{0};
  {
    auto writer = [&](unsigned number) {
      std::mt19937 random(number);
      auto state = ledger->initialState();
      auto old = state;
      for (int i = 0; i < 150; ++i) {
        // Now and then a parent that this thread alone has pushed out since.
        if (i % 30 == 5) old = state;
        if (i % 30 == 29) state = old;
        auto name = kj::str("key", random() % 20);
        auto value = kj::str(number, ":", i, kj::repeat('x', random() % 3000));
        auto result = set(state, name, value);
        if (result.is<RootHash>()) {
          ++sets;
          state = result.get<RootHash>();
          auto pinned = ledger->pin(state);
          if (pinned.is<Error>()) continue;
          auto key = keyOf(name);
          auto read = Ledger::getSingleValue(*pinned.get<kj::Own<const Trie>>(), key);
          EXPECT_TRUE(read.get<Value>() == value.asBytes());
        } else {
          EXPECT_EQ(result.get<Error>().reason, Reason::UNKNOWN_STATE)
              << result.get<Error>().message.cStr();
          ++evicted;
          auto states = ledger->states();
          state = states[random() % states.size()];
        }
      }
    };
    auto prover = [&]() {
      std::mt19937 random(77);
      for (int i = 0; i < 300; ++i) {
        auto states = ledger->states();
        auto state = states[random() % states.size()];
        auto keys = KJ_MAP(k, kj::range(0, 10)) {
          return keyOf(kj::str("key", k * 3));
        };
        auto encodedKeys = KJ_MAP(key, keys) {
          return EncodedKey(key);
        };
        auto result = ledger->prove(state, encodedKeys, Stop::never());
        if (result.is<Error>()) continue;  // Evicted meanwhile.
        auto& proof = result.get<BatchProof>();
        auto out = kj::heapArray<kj::byte>(proof.encodedSize());
        proof.encode(out);
        auto verified = verifyBatch(state, out, Strictness::FLOW_GO);
        EXPECT_TRUE(verified.is<kj::Array<ProvenRegister>>())
            << verified.get<Error>().message.cStr();
      }
    };
    kj::Thread w1([&]() { writer(1); });
    kj::Thread w2([&]() { writer(2); });
    kj::Thread w3([&]() { writer(3); });
    kj::Thread p1([&]() { prover(); });
  }
  EXPECT_GT(sets.load(), 100u);
  EXPECT_GT(evicted.load(), 0u) << "the test meant parents to be evicted";
  auto before = ledger->states();
  auto stats = ledger->stats();
  open(CAPACITY);
  auto after = ledger->states();
  EXPECT_TRUE(before.asPtr() == after.asPtr());
  EXPECT_EQ(ledger->stats().nodes, stats.nodes);
  EXPECT_EQ(ledger->stats().valueBytes, stats.valueBytes);
}

// Large Sets, Gets and Proves share the engine's threads while states are evicted: each answer is
// of one state, and of the right one.
TEST_F(LedgerTest, LargeCallsShareTheThreads) {
  threads = 3;
  open(4);
  constexpr int REGISTERS = 300;
  auto names = KJ_MAP(i, kj::range(0, REGISTERS)) { return keyOf(kj::str("register", i)); };
  auto keys = KJ_MAP(name, names) { return EncodedKey(name); };
  std::atomic<unsigned> answered{0};
  std::atomic<bool> done{false};
  {
    auto writer = [&](unsigned number) {
      auto state = ledger->initialState();
      for (int i = 0; i < 12; ++i) {
        // All registers of a state have the same value.
        auto text = kj::str(number, ":", i);
        auto values = KJ_MAP(key, keys) { return Value((void(key), text.asBytes())); };
        auto result = ledger->set(state, keys, values, nullptr, Stop::never());
        if (result.is<RootHash>()) {
          state = result.get<RootHash>();
        } else {
          EXPECT_EQ(result.get<Error>().reason, Reason::UNKNOWN_STATE);
          state = ledger->states().back();
        }
      }
    };
    auto reader = [&]() {
      while (!done) {
        auto state = ledger->states().back();
        auto got = ledger->get(state, keys, Stop::never());
        if (got.is<Error>()) continue;  // Evicted meanwhile.
        auto& values = got.get<Values>();
        for (auto value : values.values) EXPECT_TRUE(value == values.values[0]);
        EXPECT_EQ(values.bytes, REGISTERS * values.values[0].size());
        auto proven = ledger->prove(state, keys, Stop::never());
        if (proven.is<Error>()) continue;
        auto& proof = proven.get<BatchProof>();
        auto out = kj::heapArray<kj::byte>(proof.encodedSize());
        proof.encode(out);
        auto verified = verifyBatch(state, out, Strictness::FLOW_GO);
        ASSERT_TRUE(verified.is<kj::Array<ProvenRegister>>());
        for (auto& one : verified.get<kj::Array<ProvenRegister>>()) {
          EXPECT_TRUE(one.value == values.values[0]);
        }
        ++answered;
      }
    };
    kj::Thread r1(reader);
    kj::Thread r2(reader);
    {
      kj::Thread w1([&]() { writer(1); });
      kj::Thread w2([&]() { writer(2); });
    }
    testing::await("an answer", [&]() {
      if (answered == 0) writer(3);
      return answered > 0;
    });
    done = true;
  }
}

// KI-9: somebody who knows the format changes a value and the checksums. flow-go loads it, and so
// does a start that is not asked to verify.
TEST_F(LedgerTest, AVerifiedStartFindsAChangedValue) {
  auto parts = testing::workedExample();
  auto& value = parts.bytes[0][4 + 71 + 17];
  ASSERT_EQ(value, 'a');
  value = 'x';
  parts.store(*directory, "checkpoint.00000007");
  trust = LedgerOptions::Trust::NOTHING;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { open(); })) {
    std::string said = exception->getDescription().cStr();
    EXPECT_NE(said.find("checkpoint.00000007.000 at offset 4"), said.npos) << said;
  } else {
    FAIL() << "a wrong hash was believed";
  }
  trust = LedgerOptions::Trust::HASHES;
  open();
  EXPECT_EQ(ledger->stateCount(), 2u) << "the empty state and the one that was loaded";
}

// A crash in the middle of a write: what was acknowledged is there, the rest is kept aside, and
// what is written afterwards is read by the start after that.
TEST_F(LedgerTest, ATornTailIsCutBeforeAnythingIsAppended) {
  open();
  auto first = mustSet(ledger->initialState(), "a", "1");
  auto second = mustSet(first, "b", "2");
  auto whole = kj::heapArray<kj::byte>(directory->openFile(kj::Path("00000000"))->readAllBytes());
  ledger = nullptr;
  auto file = directory->openFile(kj::Path("00000000"), kj::WriteMode::MODIFY);
  // Records of one register: the second one ends before the padding that closing wrote.
  size_t end = whole.size();
  while (whole[end - 1] == 0) --end;
  file->truncate(end - 3);

  open();
  EXPECT_TRUE(ledger->hasState(first));
  EXPECT_FALSE(ledger->hasState(second));
  auto told = warnings.take();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(told[0].find("00000000") != std::string::npos) << told[0];
  auto third = mustSet(first, "c", "3");
  open();
  EXPECT_TRUE(ledger->hasState(third));
  EXPECT_TRUE(warnings.take().empty());
}

TEST_F(LedgerTest, DamageInTheMiddleRefusesToStartAndNamesThePlace) {
  open();
  auto state = ledger->initialState();
  for (int i = 0; i < 5; ++i) state = mustSet(state, "a", kj::str(i));
  ledger = nullptr;
  auto file = directory->openFile(kj::Path("00000000"), kj::WriteMode::MODIFY);
  kj::byte flipped = 0xff;
  file->write(100, kj::arrayPtr(&flipped, 1));
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { open(); })) {
    auto text = std::string(exception->getDescription().cStr());
    EXPECT_TRUE(text.find("00000000") != std::string::npos) << text;
    EXPECT_TRUE(text.find("checksum") != std::string::npos) << text;
  } else {
    FAIL() << "started on a damaged log";
  }
}

// --- When records are on disk ---

TEST_F(LedgerTest, WithSyncAlwaysEachAnswerComesAfterASync) {
  open();
  auto state = ledger->initialState();
  for (int i = 0; i < 5; ++i) {
    const int before = faults.datasyncCount;
    state = mustSet(state, "a", kj::str(i));
    EXPECT_GT(faults.datasyncCount, before);
  }
}

TEST_F(LedgerTest, WithoutSyncsTheCleanEndSyncsAll) {
  walSync.mode = SyncPolicy::Mode::NEVER;
  open();
  auto state = ledger->initialState();
  for (int i = 0; i < 5; ++i) state = mustSet(state, "a", kj::str(i));
  EXPECT_EQ(faults.datasyncCount, 0);
  ledger = nullptr;
  EXPECT_GT(faults.datasyncCount, 0);
  open();
  EXPECT_TRUE(ledger->hasState(state));
}

// The sync comes without another Set, and not before its time.
TEST_F(LedgerTest, WithAnIntervalTheSyncComesByItself) {
  walSync = {SyncPolicy::Mode::INTERVAL, 1 * kj::MILLISECONDS};
  open();
  mustSet(ledger->initialState(), "a", "1");
  // The log's thread counts.
  testing::await("the sync",
                 [&]() { return std::atomic_ref<int>(faults.datasyncCount).load() > 0; });
  walSync.interval = 1 * kj::HOURS;
  open();
  const int before = faults.datasyncCount;
  mustSet(ledger->initialState(), "a", "2");
  EXPECT_EQ(faults.datasyncCount, before);
}

TEST_F(LedgerTest, ALateSyncThatFailsEndsSets) {
  walSync = {SyncPolicy::Mode::INTERVAL, 1 * kj::MILLISECONDS};
  open();
  faults.datasyncs = 0;
  auto state = mustSet(ledger->initialState(), "a", "1");
  testing::await("the sync",
                 [&]() { return ledger->stats().log.state != LogHealth::State::GOOD; });
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::FAILED);
  auto refused = set(state, "a", "2");
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().reason, Reason::WRITE_FAILED);
  EXPECT_EQ(get(state, "a"), "1");
}

// --- What an operator sees of it ---

TEST_F(LedgerTest, TheLogsHealthIsTold) {
  open();
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::GOOD);
  faults.writes = 0;
  EXPECT_TRUE(set(ledger->initialState(), "a", "1").is<Error>());
  EXPECT_TRUE(set(ledger->initialState(), "a", "1").is<Error>());
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::REFUSED);
  EXPECT_GT(ledger->stats().log.reason.size(), 0u);
  EXPECT_EQ(warnings.take().size(), 1u) << "said once";
  faults.writes = testing::Faults::NEVER;
  auto state = mustSet(ledger->initialState(), "a", "1");
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::GOOD);
  faults.datasyncs = 0;
  EXPECT_TRUE(set(state, "a", "2").is<Error>());
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::FAILED);
  faults.datasyncs = testing::Faults::NEVER;
  EXPECT_TRUE(set(state, "a", "2").is<Error>()) << "only a restart helps";
  EXPECT_EQ(get(state, "a"), "1");
  open();
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::GOOD);
  EXPECT_TRUE(ledger->hasState(state));
}

}  // namespace
}  // namespace ledger
