// SPDX-License-Identifier: Apache-2.0
// The updates of flow-go's logs, applied by our engine, lead to flow-go's checkpoint files: the
// engine makes and shares nodes exactly as flow-go does, and counts as it does.
#include "ledger/checkpoint/names.h"
#include "ledger/encoding.h"
#include "ledger/path-finder.h"
#include "tests/golden/checkpoints/checkpoint-files.h"
#include "tests/golden/checkpoints/flow-go-ledger.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <string>

namespace ledger::testing {
namespace {

// How many updates were logged before each restart of a script's ledger.
std::set<size_t> restartsOf(const std::string& script) {
  std::set<size_t> restarts;
  size_t logged = 0;
  auto text = goldenFile(script)->readAllText();
  for (auto line = text.begin(); line < text.end();) {
    auto end = std::find(line, text.end(), '\n');
    auto step = nlohmann::json::parse(line, end);
    line = end + 1;
    if (step["op"] == "reopen") restarts.insert(logged);
    if (step["op"] == "set" && !step["keys"].empty()) {
      KJ_REQUIRE(!step.contains("error"), "flow-go logged a Set that failed");
      ++logged;
    }
  }
  return restarts;
}

struct Log {
  const char* folder;
  uint32_t capacity;
  const char* script;  // Null: no restart.
  size_t checkpoints;  // That were written while the log was.
};

// Follows flow-go's compactor along its log: whenever an update begins a new segment, a checkpoint
// of the number of the one before, if flow-go wrote it, has the queue as it is without that update.
void expectCheckpointsOf(const Log& log) {
  auto golden = goldenFolder(log.folder);
  auto updates = readUpdates(*golden);
  auto restarts = log.script == nullptr ? std::set<size_t>() : restartsOf(log.script);
  std::set<uint64_t> checkpoints;
  for (auto number : listCheckpoints(*golden)) checkpoints.insert(number);

  auto store = newStore();
  auto ledger = kj::heap<FlowGoLedger>(*store, log.capacity, nullptr, nullptr);
  kj::Maybe<uint64_t> latest;  // Checkpoint.
  size_t compared = 0;
  for (size_t i = 0; i < updates.size(); ++i) {
    if (restarts.count(i) > 0) {
      kj::Array<kj::Own<const Trie>> tries;
      size_t first = 0;
      KJ_IF_MAYBE (number, latest) {
        tries = loadCheckpoint(*golden, checkpointName(*number), *store);
        while (first < i && updates[first].segment <= *number) ++first;
      }
      ledger = kj::heap<FlowGoLedger>(*store, log.capacity, tries,
                                      kj::arrayPtr(updates.data() + first, i - first));
    } else if (i > 0) {
      auto finished = updates[i - 1].segment;
      if (updates[i].segment > finished && checkpoints.count(finished) > 0) {
        SCOPED_TRACE(finished);
        auto name = checkpointName(finished);
        expectSameFiles(*golden, name, ledger->queued());
        latest = finished;
        ++compared;
      }
    }
    ASSERT_TRUE(ledger->set(updates[i])) << "update " << i;
  }
  EXPECT_EQ(compared, log.checkpoints);
  EXPECT_EQ(compared, checkpoints.size());
}

// Deletions, re-allocations, repeated roots, forks and eviction, all in one process's life.
TEST(CheckpointIdentity, ScenarioSmall) {
  SKIP_WITHOUT_GOLDEN();
  expectCheckpointsOf({"scenario-small/triedir", 64, nullptr, 2});
}

// After a restart nodes are those that the last checkpoint has, and no longer shared with what was
// before.
TEST(CheckpointIdentity, ScenarioReopen) {
  SKIP_WITHOUT_GOLDEN();
  expectCheckpointsOf(
      {"scenario-small/triedir-reopen", 500, "scenario-small/scenario-reopen.jsonl", 3});
}

TEST(CheckpointIdentity, GoodCheckpoint) {
  SKIP_WITHOUT_GOLDEN();
  expectCheckpointsOf({"wal-faults/good-checkpoint", 4, nullptr, 2});
}

// Made offline from a log: the tries of the forest. The root checkpoint has the newest only.
TEST(CheckpointIdentity, Genesis) {
  SKIP_WITHOUT_GOLDEN();
  auto golden = goldenFolder("flow-genesis/triedir");
  auto store = newStore();
  FlowGoLedger ledger(*store, 100, nullptr, nullptr);
  for (auto& update : readUpdates(*golden)) ASSERT_TRUE(ledger.set(update));
  auto tries = ledger.queued();
  ASSERT_EQ(tries.size(), 2u);
  expectSameFiles(*golden, checkpointName(0), tries);
  expectSameFiles(*goldenFolder("flow-genesis/triedir-root"), ROOT_CHECKPOINT_NAME,
                  tries.slice(1, 2));
}

// Reads the numbers and bytes of scenario-large/sets.bin.
class SetsReader {
public:
  explicit SetsReader(kj::ArrayPtr<const kj::byte> bytes) : rest(bytes) {}

  kj::ArrayPtr<const kj::byte> bytes(size_t length) {
    KJ_REQUIRE(length <= rest.size());
    auto taken = rest.slice(0, length);
    rest = rest.slice(length, rest.size());
    return taken;
  }
  uint32_t number(size_t width) {
    uint32_t value = 0;
    auto text = bytes(width);
    for (size_t i = width; i-- > 0;) value = value << 8 | text[i];
    return value;
  }
  bool atEnd() const { return rest.size() == 0; }

private:
  kj::ArrayPtr<const kj::byte> rest;
};

TEST(CheckpointIdentity, ScenarioLarge) {
  SKIP_WITHOUT_GOLDEN();
  auto bytes = goldenFile("scenario-large/sets.bin")->readAllBytes();
  SetsReader in(bytes);
  ASSERT_TRUE(in.bytes(8) == "FLEDSET1"_kj.asBytes());
  auto sets = in.number(4);
  auto store = newStore();
  FlowGoLedger ledger(*store, sets + 1, nullptr, nullptr);
  for (uint32_t set = 0; set < sets; ++set) {
    auto parent = RootHash::copyOf(in.bytes(RootHash::SIZE));
    auto registers = in.number(4);
    kj::Vector<kj::Array<kj::byte>> keys;
    auto payloads = kj::heapArray<Payload>(registers);
    auto paths = kj::heapArray<Path>(registers);
    for (uint32_t i = 0; i < registers; ++i) {
      kj::Vector<KeyPart> parts;
      for (auto left = in.number(1); left > 0; --left) {
        auto type = static_cast<uint16_t>(in.number(2));
        parts.add(KeyPart{type, in.bytes(in.number(4))});
      }
      auto key = encodeKey(parts);
      ASSERT_TRUE(key.is<kj::Array<kj::byte>>());
      keys.add(kj::mv(key.get<kj::Array<kj::byte>>()));
      payloads[i] = {keys.back(), in.bytes(in.number(4))};
      paths[i] = pathOf(keys.back());
    }
    ASSERT_TRUE(ledger.set(parent, paths, payloads)) << "set " << set;
    auto expected = RootHash::copyOf(in.bytes(RootHash::SIZE));
    ASSERT_TRUE(ledger.queued().back()->rootHash() == expected) << "set " << set;
  }
  ASSERT_TRUE(in.atEnd());
  auto tries = ledger.queued();
  expectSameFiles(*goldenFolder("scenario-large/triedir"), ROOT_CHECKPOINT_NAME,
                  tries.slice(tries.size() - 2, tries.size()));
}

}  // namespace
}  // namespace ledger::testing
