// SPDX-License-Identifier: Apache-2.0
// Checkpoints that flow-go wrote, good and damaged.
#include "ledger/checkpoint/checkpoint-testing.h"
#include "ledger/checkpoint/reader.h"
#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"

#include <gtest/gtest.h>

#include <kj/debug.h>
#include <kj/encoding.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <string_view>

namespace ledger {
namespace {

using testing::KeepingSink;

#define SKIP_WITHOUT_GOLDEN()                                               \
  if (getenv("LEDGERD_GOLDEN") == nullptr) {                                \
    GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data"; \
  }                                                                         \
  static_assert(true)

kj::Own<const kj::ReadableDirectory> golden(kj::StringPtr path) {
  auto filesystem = kj::newDiskFilesystem();
  return filesystem->getRoot().openSubdir(
      filesystem->getCurrentPath().evalNative(kj::str(getenv("LEDGERD_GOLDEN"), "/", path)));
}

nlohmann::json goldenJson(kj::StringPtr directory, kj::StringPtr name) {
  auto text = golden(directory)->openFile(kj::Path(name))->readAllText();
  return nlohmann::json::parse(text.begin(), text.end());
}

struct Counted {
  uint64_t leaves = 0, emptyLeaves = 0, valueBytes = 0, keyBytes = 0;
};

void count(const KeepingSink& sink, ChildRef ref, Counted& counted) {
  if (ref.isNil()) return;
  auto& node = sink.node(ref);
  if (node.leaf) {
    ++counted.leaves;
    counted.emptyLeaves += node.value.empty();
    counted.valueBytes += node.value.size();
    counted.keyBytes += node.key.size();
    return;
  }
  count(sink, node.left, counted);
  count(sink, node.right, counted);
}

// Every trie of every checkpoint of a scenario, counted leaf by leaf. Catches a child taken from
// the wrong part, and tries out of order.
void expectTries(kj::StringPtr set, kj::StringPtr json, kj::StringPtr triedir) {
  size_t checkpoints = 0;
  const auto document = goldenJson(set, json);
  for (auto& expected : document["checkpoints"]) {
    auto name = expected["name"].get<std::string>();
    KeepingSink sink;
    readCheckpoint(*golden(kj::str(set, "/", triedir)), name.c_str(), sink, {.threads = 4});
    ASSERT_TRUE(sink.complete());
    ASSERT_EQ(sink.tries.size(), expected["tries"].size());
    for (size_t i = 0; i < sink.tries.size(); ++i) {
      auto& trie = sink.tries[i];
      auto& want = expected["tries"][i];
      EXPECT_EQ(kj::encodeHex(trie.rootHash.ptr()), want["root"].get<std::string>().c_str());
      EXPECT_EQ(trie.registerCount, want["reg_count"].get<uint64_t>());
      EXPECT_EQ(trie.registerSize, want["reg_size"].get<uint64_t>());
      Counted counted;
      count(sink, trie.root, counted);
      EXPECT_EQ(counted.leaves, want["leaves"].get<uint64_t>());
      EXPECT_EQ(counted.emptyLeaves, want["empty_leaves"].get<uint64_t>());
      EXPECT_EQ(counted.valueBytes, want["value_bytes"].get<uint64_t>());
      EXPECT_EQ(counted.keyBytes, want["encoded_key_bytes"].get<uint64_t>());
    }
    ++checkpoints;
  }
  EXPECT_GT(checkpoints, 0u);
}

TEST(CheckpointGolden, ScenarioSmallHoldsItsTries) {
  SKIP_WITHOUT_GOLDEN();
  expectTries("scenario-small", "triedir.json", "triedir");
}

TEST(CheckpointGolden, ScenarioReopenHoldsItsTries) {
  SKIP_WITHOUT_GOLDEN();
  expectTries("scenario-small", "triedir-reopen.json", "triedir-reopen");
}

// Hashes are recomputed from the payloads: catches a payload, path or child that went astray.
TEST(CheckpointGolden, GenesisHashesFollowFromItsRegisters) {
  SKIP_WITHOUT_GOLDEN();
  KeepingSink sink;
  readCheckpoint(*golden("flow-genesis/triedir-root"), ROOT_CHECKPOINT_NAME, sink);
  ASSERT_EQ(sink.tries.size(), 1u);
  EXPECT_EQ(kj::encodeHex(sink.tries[0].rootHash.ptr()),
            "19ec250023798e68e9350d3a2c061cb75ff99f6737ad430e5250ffa9b10d24ee"_kj);
  for (auto& part : sink.parts) {
    for (auto& node : part) {
      if (node.leaf) {
        auto value =
            kj::arrayPtr(reinterpret_cast<const kj::byte*>(node.value.data()), node.value.size());
        EXPECT_TRUE(hash::compactLeafHash(node.path, value, node.height) == node.hash);
      } else {
        auto& empty = hash::defaultHash(node.height - 1);
        auto hashOf = [&](ChildRef child) { return child.isNil() ? empty : sink.node(child).hash; };
        EXPECT_TRUE(hash::hashInterior(hashOf(node.left), hashOf(node.right)) == node.hash);
      }
    }
  }
}

TEST(CheckpointGolden, ScenarioLargeReads) {
  SKIP_WITHOUT_GOLDEN();
  KeepingSink sink;
  readCheckpoint(*golden("scenario-large/triedir"), ROOT_CHECKPOINT_NAME, sink);
  EXPECT_TRUE(sink.complete());
  EXPECT_EQ(sink.tries.size(), 2u);
}

// Each directory whose newest checkpoint flow-go could not load, and no other.
TEST(CheckpointGolden, TellsDamagedFromGood) {
  SKIP_WITHOUT_GOLDEN();
  size_t damaged = 0, good = 0;
  const auto document = goldenJson("wal-faults", "faults.json");
  for (auto& fault : document["faults"]) {
    auto directoryName = fault["dir"].get<std::string>();
    if (directoryName == "wal-no-segments") continue;
    SCOPED_TRACE(directoryName);
    auto directory = golden(kj::str("wal-faults/", directoryName.c_str()));
    for (auto number : listCheckpoints(*directory)) {
      auto name = checkpointName(number);
      // Damage is to the newer of the two, or to both, as the names say.
      std::string_view kind(directoryName);
      bool bad =
          kind.substr(0, 4) == "ckpt" && kind != "ckpt-no-wal" && kind != "ckpt-torn-wal" &&
          kind != "ckpt-segments-dropped" && kind != "ckpt-missing-header" &&
          (number == 2 || kind == "ckpt-both-bad" || kind == "ckpt-segments-dropped-all-bad");
      KeepingSink sink;
      auto failure =
          kj::runCatchingExceptions([&]() { readCheckpoint(*directory, name, sink, {}); });
      EXPECT_EQ(failure != nullptr, bad) << name.cStr();
      ++(bad ? damaged : good);
    }
    if (hasRootCheckpoint(*directory)) {
      KeepingSink sink;
      auto failure = kj::runCatchingExceptions(
          [&]() { readCheckpoint(*directory, ROOT_CHECKPOINT_NAME, sink, {}); });
      EXPECT_EQ(failure != nullptr, directoryName == "root-checkpoint-bad");
    }
  }
  EXPECT_GE(damaged, 15u);
  EXPECT_GE(good, 15u);
}

// Some bytes of every file of a real checkpoint; the small worked one has every bit tried.
TEST(CheckpointGolden, SeesFlippedBytesInRealFiles) {
  SKIP_WITHOUT_GOLDEN();
  auto source = golden("wal-faults/good-checkpoint");
  auto directory = kj::newInMemoryDirectory(kj::nullClock());
  constexpr kj::StringPtr NAME = "checkpoint.00000002"_kj;
  for (auto& name : source->listNames()) {
    if (!name.startsWith(NAME)) continue;
    directory->openFile(kj::Path(name), kj::WriteMode::CREATE)
        ->writeAll(source->openFile(kj::Path(name))->readAllBytes());
  }
  size_t flips = 0;
  for (auto& name : directory->listNames()) {
    auto file = directory->openFile(kj::Path(name), kj::WriteMode::MODIFY);
    auto bytes = file->readAllBytes();
    for (size_t at = 0; at < bytes.size(); at += 1 + bytes.size() / 150) {
      kj::byte flipped = bytes[at] ^ 0x10;
      file->write(at, kj::arrayPtr(&flipped, 1));
      KeepingSink sink;
      auto failure = kj::runCatchingExceptions(
          [&]() { readCheckpoint(*directory, NAME, sink, {.threads = 1}); });
      EXPECT_TRUE(failure != nullptr) << name.cStr() << " at " << at;
      file->write(at, kj::arrayPtr(&bytes[at], 1));
      ++flips;
    }
  }
  EXPECT_GT(flips, 1000u);
}

}  // namespace
}  // namespace ledger
