// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/layout.h"

#include "ledger/checkpoint/checkpoint-testing.h"

#include <gtest/gtest.h>

#include <kj/debug.h>
#include <kj/encoding.h>

#include <string>

namespace ledger {
namespace {

using testing::bigEndian;
using testing::CheckpointParts;
using testing::topPart;
using testing::trieRecord;
using testing::workedExample;

constexpr kj::StringPtr NAME = "checkpoint.00000007"_kj;

kj::Own<const kj::Directory> stored(const CheckpointParts& parts) {
  auto directory = kj::newInMemoryDirectory(kj::nullClock());
  parts.store(*directory, NAME);
  return kj::mv(directory);
}

// A count or a size that is another file's.
TEST(CheckpointLayout, SaysWhatTheWorkedExampleHolds) {
  auto checkpoint = openCheckpoint(*stored(workedExample()), NAME);
  EXPECT_EQ(checkpoint.headerBytes, 78u);
  EXPECT_EQ(checkpoint.bytes(), 78u + 398 + 15 * 16 + 286);
  EXPECT_EQ(checkpoint.nodes(), 10u);
  EXPECT_EQ(checkpoint.tries, 1u);
  EXPECT_EQ(checkpoint.parts[0].nodes, 6u);
  EXPECT_EQ(checkpoint.parts[0].crc, 0xed9c005fu);
  EXPECT_EQ(checkpoint.parts[1].nodes, 0u);
  EXPECT_EQ(checkpoint.parts[16].nodes, 4u);
  EXPECT_EQ(checkpoint.parts[16].name, "checkpoint.00000007.016"_kj);

  auto records = readTrieRecords(checkpoint);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].root, 10u);
  EXPECT_EQ(records[0].registerCount, 2u);
  EXPECT_EQ(records[0].registerSize, 20u);
  EXPECT_EQ(kj::encodeHex(records[0].rootHash.ptr()),
            "b09447ef31324dfca87ac96821eadf7568b3e410129b2dfe1613aa403a4adcde"_kj);
}

// Records read from the wrong end of the list, or only the first.
TEST(CheckpointLayout, KeepsTheOrderOfTries) {
  CheckpointParts parts;
  parts.bytes[CHECKPOINT_TOP_PART] =
      topPart(0, {},
              {trieRecord(0, 1, 2, std::string(32, 'a')), trieRecord(3, 4, 5, std::string(32, 'b')),
               trieRecord(6, 7, 8, std::string(32, 'c'))});
  auto records = readTrieRecords(openCheckpoint(*stored(parts), NAME));
  ASSERT_EQ(records.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(records[i].root, 3 * i);
    EXPECT_EQ(records[i].registerCount, 3 * i + 1);
    EXPECT_EQ(records[i].registerSize, 3 * i + 2);
    EXPECT_EQ(records[i].rootHash.bytes[31], 'a' + i);
  }
}

// Memory that is taken for a count that no file of this size can hold.
TEST(CheckpointLayout, CountsAreHeldToTheSizesOfTheFiles) {
  for (uint64_t count : {uint64_t(8), uint64_t(1) << 32, UINT64_MAX}) {
    auto parts = workedExample();
    auto& subtrie = parts.bytes[0];
    subtrie.replace(subtrie.size() - 8, 8, bigEndian(count, 8));
    EXPECT_ANY_THROW(openCheckpoint(*stored(parts), NAME)) << count;

    parts = workedExample();
    auto& top = parts.bytes[CHECKPOINT_TOP_PART];
    top.replace(top.size() - 10, 8, bigEndian(count, 8));
    EXPECT_ANY_THROW(openCheckpoint(*stored(parts), NAME)) << count;
  }
  for (uint64_t tries : {0, 5, 65535}) {
    auto parts = workedExample();
    auto& top = parts.bytes[CHECKPOINT_TOP_PART];
    top.replace(top.size() - 2, 2, bigEndian(tries, 2));
    EXPECT_ANY_THROW(openCheckpoint(*stored(parts), NAME)) << tries;
  }
}

}  // namespace
}  // namespace ledger
