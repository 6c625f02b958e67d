// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/checking-sink.h"

#include "ledger/checkpoint/checkpoint-testing.h"
#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/reader.h"
#include "ledger/wal/wal-testing.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

#include <string>

namespace ledger {
namespace {

using testing::CheckpointParts;
using testing::goldenDirectory;
using testing::leafRecord;
using testing::subtriePart;
using testing::topPart;
using testing::trieRecord;
using testing::workedExample;
using Hashes = CheckingSink::Hashes;

constexpr kj::StringPtr NAME = "checkpoint.00000007"_kj;

struct Verdict {
  CheckingSink::Counts counts;
  std::string failure;  // "" if there is none.
};

Verdict check(const kj::ReadableDirectory& directory, kj::StringPtr name, Hashes hashes,
              unsigned threads = 1) {
  CheckingSink sink(name, hashes);
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 readCheckpoint(directory, name, sink, {.threads = threads});
               })) {
    return {sink.counts(), exception->getDescription().cStr()};
  }
  return {sink.counts(), ""};
}

// Stored with checksums that fit, as by somebody who knows the format.
Verdict check(const CheckpointParts& parts, Hashes hashes) {
  auto directory = kj::newInMemoryDirectory(kj::nullClock());
  parts.store(*directory, NAME);
  return check(*directory, NAME, hashes);
}

bool says(const Verdict& verdict, kj::StringPtr part) {
  return verdict.failure.find(part.cStr()) != std::string::npos;
}

TEST(CheckingSink, CountsTheWorkedExample) {
  for (auto hashes : {Hashes::TRUSTED, Hashes::RECOMPUTED}) {
    auto verdict = check(workedExample(), hashes);
    EXPECT_EQ(verdict.failure, "");
    EXPECT_EQ(verdict.counts.leaves, 2u);
    EXPECT_EQ(verdict.counts.emptyLeaves, 0u);
    EXPECT_EQ(verdict.counts.interiors, 8u);
    EXPECT_EQ(verdict.counts.payloadBytes, 20u);
    EXPECT_EQ(verdict.counts.tries, 1u);
  }
}

// KI-9: flow-go loads a changed value, and the root hash stays what it was.
TEST(CheckingSink, SeesAChangedValueBehindGoodChecksums) {
  auto parts = workedExample();
  auto& value = parts.bytes[0][4 + 71 + 17];
  ASSERT_EQ(value, 'a');
  value = 'x';
  EXPECT_EQ(check(parts, Hashes::TRUSTED).failure, "");
  auto verdict = check(parts, Hashes::RECOMPUTED);
  EXPECT_TRUE(says(verdict, "checkpoint.00000007.000 at offset 4, ")) << verdict.failure;
}

// A node that is not looked at, or whose place is miscounted: each one's hash in turn.
TEST(CheckingSink, SeesAChangedHashOfEveryNode) {
  const size_t subtrieNodes[] = {4, 93, 182, 233, 284, 335};
  for (auto offset : subtrieNodes) {
    auto parts = workedExample();
    parts.bytes[0][offset + 3] ^= 1;
    auto verdict = check(parts, Hashes::RECOMPUTED);
    EXPECT_TRUE(says(verdict, kj::str(".000 at offset ", offset, ", "))) << verdict.failure;
  }
  const size_t topNodes[] = {12, 63, 114, 165};
  for (auto offset : topNodes) {
    auto parts = workedExample();
    auto& top = parts.bytes[CHECKPOINT_TOP_PART];
    top[offset + 3] ^= 1;
    if (offset == 165) top[12 + 4 * 51 + 24] ^= 1;  // The trie's root hash, which is the same.
    auto verdict = check(parts, Hashes::RECOMPUTED);
    EXPECT_TRUE(says(verdict, kj::str(".016 at offset ", offset, ", "))) << verdict.failure;
  }
}

// A path is what a leaf's hash begins with; swapped children hash differently.
TEST(CheckingSink, SeesChangedPathsAndChildren) {
  auto parts = workedExample();
  parts.bytes[0][4 + 35 + 20] ^= 1;
  EXPECT_TRUE(says(check(parts, Hashes::RECOMPUTED), ".000 at offset 4, "));

  parts = workedExample();
  std::swap(parts.bytes[0][182 + 35 + 7], parts.bytes[0][182 + 35 + 15]);
  EXPECT_TRUE(says(check(parts, Hashes::RECOMPUTED), ".000 at offset 182, "));
}

// Leaves without a value have the hash of an empty subtrie, and nothing else.
TEST(CheckingSink, EmptyLeavesHaveTheDefaultHash) {
  std::string emptyRoot(reinterpret_cast<const char*>(EMPTY_TRIE_ROOT.data()), 32);
  auto path = std::string(32, '\x10');
  auto withLeaf = [&](const std::string& hash, const std::string& payload) {
    CheckpointParts parts;
    parts.bytes[CHECKPOINT_TOP_PART] =
        topPart(0, {leafRecord(256, hash, path, payload)}, {trieRecord(1, 0, 0, hash)});
    return parts;
  };
  auto payload = testing::fromHex("0000000900010000000300004100000000");
  for (auto& stored : {std::string(), payload}) {
    auto good = check(withLeaf(emptyRoot, stored), Hashes::RECOMPUTED);
    EXPECT_EQ(good.failure, "");
    EXPECT_EQ(good.counts.leaves, 1u);
    EXPECT_EQ(good.counts.emptyLeaves, 1u);
    auto bad = check(withLeaf(std::string(32, 'x'), stored), Hashes::RECOMPUTED);
    EXPECT_TRUE(says(bad, ".016 at offset 12, ")) << bad.failure;
  }
}

// Batches that are lost at a part's end, or hashes given back too early: real checkpoints, of
// several tries, on several threads.
TEST(CheckingSink, FindsNothingInWhatFlowGoWrote) {
  const char* PATHS[] = {"flow-genesis/triedir", "flow-genesis/triedir-root",
                         "scenario-small/triedir", "scenario-small/triedir-reopen"};
  for (auto path : PATHS) {
    SCOPED_TRACE(path);
    KJ_IF_MAYBE (found, goldenDirectory(path)) {
      auto& directory = **found;
      kj::Vector<kj::String> names;
      for (auto number : listCheckpoints(directory)) names.add(checkpointName(number));
      if (hasRootCheckpoint(directory)) names.add(kj::str(ROOT_CHECKPOINT_NAME));
      EXPECT_GT(names.size(), 0u);
      for (auto& name : names) {
        auto verdict = check(directory, name, Hashes::RECOMPUTED, 4);
        EXPECT_EQ(verdict.failure, "");
        EXPECT_GT(verdict.counts.leaves, 0u);
      }
    } else {
      GTEST_SKIP() << testing::NO_GOLDEN;
    }
  }
}

// One bit of each leaf's value in turn, of a part of a real checkpoint, with checksums that fit.
TEST(CheckingSink, SeesAChangedBitOfAnyValueInARealPart) {
  KJ_IF_MAYBE (found, goldenDirectory("flow-genesis/triedir")) {
    constexpr kj::StringPtr GENESIS = "checkpoint.00000000"_kj;
    CheckpointParts parts;
    for (unsigned part = 0; part < CHECKPOINT_PARTS; ++part) {
      auto bytes = testing::readFile(**found, checkpointPartName(GENESIS, part));
      parts.bytes[part] = bytes.substr(0, bytes.size() - CHECKPOINT_CRC_SIZE);
    }
    auto number = [&](size_t at, size_t size) {
      uint64_t value = 0;
      for (size_t i = 0; i < size; ++i) value = value << 8 | kj::byte(parts.bytes[3][at + i]);
      return value;
    };
    size_t leaves = 0;
    for (size_t at = CHECKPOINT_PREFIX_SIZE; at < parts.bytes[3].size() - 8;) {
      if (parts.bytes[3][at] != 0) {
        at += CHECKPOINT_INTERIOR_SIZE;
        continue;
      }
      size_t end = at + CHECKPOINT_LEAF_SIZE + number(at + CHECKPOINT_LEAF_SIZE - 4, 4);
      parts.bytes[3][end - 1] ^= 0x20;
      EXPECT_EQ(check(parts, Hashes::TRUSTED).failure, "");
      auto verdict = check(parts, Hashes::RECOMPUTED);
      EXPECT_TRUE(says(verdict, kj::str(".003 at offset ", at, ", "))) << verdict.failure;
      parts.bytes[3][end - 1] ^= 0x20;
      at = end;
      ++leaves;
    }
    EXPECT_GE(leaves, 3u);
  } else {
    GTEST_SKIP() << testing::NO_GOLDEN;
  }
}

}  // namespace
}  // namespace ledger
