// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/reader.h"

#include "ledger/wal/wal-testing.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

namespace ledger {
namespace {

using testing::asBytes;
using testing::fileNames;
using testing::goldenDirectory;
using testing::newDirectory;
using testing::pattern;
using testing::readFile;
using testing::readLog;
using testing::writeFile;
using testing::writeLog;

std::string reasonOf(const testing::ReadLog& log) {
  KJ_IF_MAYBE (damage, log.damage) {
    return damage->reason.cStr();
  }
  return "";
}

TEST(WalSegments, AreListedInOrderAndMustBeConsecutive) {
  auto directory = newDirectory();
  for (auto name : {"00000011", "00000009", "00000010"}) writeFile(*directory, name, "x");
  for (auto name : {"checkpoint.00000001", ".lock", "notes.txt", "torn-00000009-0.bak", "12x"}) {
    writeFile(*directory, name, "stray");
  }
  auto segments = listWalSegments(*directory);
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_EQ(segments[0].number, 9u);
  EXPECT_EQ(segments[2].number, 11u);
  EXPECT_EQ(segments[2].size, 1u);

  writeFile(*directory, "00000013", "");
  EXPECT_ANY_THROW(listWalSegments(*directory));
}

// flow-go takes these for segments; to pass them over would leave records out.
TEST(WalSegments, RefusesNumbersSpeltInAnotherWay) {
  for (auto name :
       {"7", "0000007", "+00000007", "-00000007", "000000007", "99999999999999999999"}) {
    auto directory = newDirectory();
    writeFile(*directory, name, "");
    EXPECT_ANY_THROW(listWalSegments(*directory)) << name;
  }
  EXPECT_EQ(kj::str(walSegmentName(7)), "00000007");
  EXPECT_EQ(kj::str(walSegmentName(123456789)), "123456789");
}

TEST(WalReader, AnEmptyLogIsClean) {
  auto directory = newDirectory();
  EXPECT_EQ(readLog(*directory).records.size(), 0u);
  writeFile(*directory, "00000000", "");
  writeFile(*directory, "00000001", std::string(WAL_PAGE_SIZE, '\0'));
  auto log = readLog(*directory);
  EXPECT_EQ(log.records.size(), 0u);
  EXPECT_EQ(reasonOf(log), "");
}

// Catches a position that is off by a header or by padding.
TEST(WalReader, SaysWhereEachRecordIs) {
  auto directory = newDirectory();
  auto big = pattern(WAL_PAGE_SIZE - 2 * WAL_HEADER_SIZE - 3 - 10);
  writeLog(*directory, {"0123456789", big, "x"});
  auto log = readLog(*directory);
  ASSERT_EQ(log.records.size(), 3u);
  EXPECT_TRUE((log.starts[0] == WalPosition{0, 0}) && (log.ends[0] == WalPosition{0, 17}));
  EXPECT_TRUE((log.starts[1] == WalPosition{0, 17}));
  EXPECT_TRUE((log.ends[1] == WalPosition{0, WAL_PAGE_SIZE - 3}));
  EXPECT_TRUE((log.starts[2] == WalPosition{0, WAL_PAGE_SIZE}));
}

// Catches records lost or doubled where the read buffer is filled again, and wrong progress.
TEST(WalReader, ReadsASegmentLargerThanItsBuffer) {
  auto directory = newDirectory();
  std::vector<std::string> records;
  for (size_t i = 0; i < 150; ++i) records.push_back(pattern(1 + i * i * 37 % 70000, i + 1));
  records.push_back(pattern(3u << 20));
  records.push_back("last");
  writeLog(*directory, records);
  EXPECT_EQ(fileNames(*directory).size(), 1u);
  EXPECT_GT(readFile(*directory, "00000000").size(), 5u << 20);
  EXPECT_TRUE(readLog(*directory).records == records);

  auto segments = listWalSegments(*directory);
  WalReader reader(*directory, segments);
  uint64_t before = 0;
  while (reader.next() != nullptr) {
    EXPECT_GT(reader.bytesDone(), before);
    before = reader.bytesDone();
    EXPECT_LE(before, reader.bytesTotal());
  }
  EXPECT_EQ(reader.bytesDone(), reader.bytesTotal());
}

// What only damage makes, and flow-go reads as something else.
TEST(WalReader, RefusesRecordsThatLackAFragment) {
  auto directory = newDirectory();
  auto record = pattern(3 * WAL_PAGE_SIZE);
  writeLog(*directory, {"good", record});
  auto whole = readFile(*directory, "00000000");

  auto holed = whole;  // The second page never reached the disk.
  std::fill(holed.begin() + WAL_PAGE_SIZE, holed.begin() + 2 * WAL_PAGE_SIZE, '\0');
  writeFile(*directory, "00000000", holed);
  auto log = readLog(*directory);
  EXPECT_EQ(log.records, std::vector<std::string>{"good"});
  KJ_IF_MAYBE (damage, log.damage) {
    EXPECT_TRUE((damage->at == WalPosition{0, WAL_PAGE_SIZE}));
    EXPECT_EQ(damage->goodEnd, 11u);
    EXPECT_TRUE(damage->inRecord);
  } else {
    ADD_FAILURE() << "no damage seen";
  }

  // The rest of the record in the next segment.
  writeFile(*directory, "00000000", whole.substr(0, WAL_PAGE_SIZE));
  writeFile(*directory, "00000001", whole.substr(WAL_PAGE_SIZE));
  log = readLog(*directory);
  EXPECT_EQ(log.records, std::vector<std::string>{"good"});
  EXPECT_NE(reasonOf(log).find("torn"), std::string::npos);
}

// Catches records that go missing without a word: pages that never reached the disk, with others
// behind them that did. Writers leave zeros where a fragment fits only at a segment's end.
TEST(WalReader, TakesZerosWithDataBehindThemForDamage) {
  constexpr size_t PAGES = 100;  // Of several read buffers.
  auto directory = newDirectory();
  std::vector<std::string> records{"good", pattern(WAL_MAX_FRAGMENT - WAL_HEADER_SIZE - 4)};
  while (records.size() < PAGES + 1) records.push_back(pattern(WAL_MAX_FRAGMENT, records.size()));
  writeLog(*directory, records);
  const auto whole = readFile(*directory, "00000000");
  ASSERT_EQ(whole.size(), PAGES * WAL_PAGE_SIZE);

  auto check = [&](uint64_t from, uint64_t to, size_t recordsBefore) {
    SCOPED_TRACE(kj::str(from, " to ", to).cStr());
    auto bytes = whole;
    std::fill(bytes.begin() + from, bytes.begin() + to, '\0');
    writeFile(*directory, "00000000", bytes);
    auto log = readLog(*directory);
    EXPECT_EQ(log.records.size(), recordsBefore);
    if (to == whole.size()) {
      EXPECT_EQ(reasonOf(log), "");
      return;
    }
    KJ_IF_MAYBE (damage, log.damage) {
      EXPECT_TRUE((damage->at == WalPosition{0, from}));
      EXPECT_EQ(damage->goodEnd, from);
      EXPECT_FALSE(damage->inRecord);
      EXPECT_NE(reasonOf(log).find(kj::str("at offset ", to).cStr()), std::string::npos);
    } else {
      ADD_FAILURE() << "no damage seen";
    }
  };
  const uint64_t page = WAL_PAGE_SIZE, end = whole.size();
  for (uint64_t from : {uint64_t(0), uint64_t(11), page, 40 * page}) {
    size_t before = from < page ? from / 11 : from / page + 1;
    for (uint64_t to : {41 * page, end - page, end}) check(from, to, before);
  }
  check(11, page, 1);
}

TEST(WalReader, NamesEachKindOfDamage) {
  auto check = [](size_t offset, kj::byte value, kj::StringPtr says) {
    auto directory = newDirectory();
    writeLog(*directory, {"good", "second", pattern(40000)});
    auto bytes = readFile(*directory, "00000000");
    bytes[offset] = static_cast<char>(value);
    writeFile(*directory, "00000000", bytes);
    auto reason = reasonOf(readLog(*directory));
    EXPECT_NE(reason.find(says.cStr()), std::string::npos) << reason;
  };
  check(11, 5, "unexpected record type 5");
  check(11, 3, "unexpected middle record");
  check(11, 4, "unexpected last record");
  check(11, 2, "does not fill its page");
  check(11, 0, "unexpected non-zero byte in padded page");
  check(12, 0x80, "invalid record size");
  check(13, 0, "unexpected checksum");
  check(20, 'S', "unexpected checksum");
  check(WAL_PAGE_SIZE, 1, "unexpected full record");
  check(2 * WAL_PAGE_SIZE - 1, 1, "unexpected non-zero byte in padded page");
}

// Only a record that is sound but for the flag: a ledger must not guess.
TEST(WalReader, ThrowsAtCompressedRecords) {
  auto directory = newDirectory();
  writeLog(*directory, {"good", "second"});
  auto bytes = readFile(*directory, "00000000");
  bytes[11] |= WAL_SNAPPY_BIT;
  writeFile(*directory, "00000000", bytes);
  try {
    readLog(*directory);
    FAIL();
  } catch (const kj::Exception& exception) {
    EXPECT_NE(std::string(exception.getDescription().cStr()).find("compressed"), std::string::npos);
  }
}

// A header of which the type alone reached the disk: flow-go reads an empty record, and then fails.
TEST(WalReader, TakesAnEmptyRecordForDamage) {
  auto directory = newDirectory();
  writeFile(*directory, "00000000", std::string("\1\0\0\0\0\0\0\0\0", 9));
  EXPECT_NE(reasonOf(readLog(*directory)).find("without bytes"), std::string::npos);
}

// Reads flow-go's segments and writes them again: catches every deviation of either side.
void expectSameAgain(kj::StringPtr path, uint64_t segmentSize, size_t records) {
  kj::Own<const kj::ReadableDirectory> golden;
  KJ_IF_MAYBE (found, goldenDirectory(path)) {
    golden = kj::mv(*found);
  } else {
    GTEST_SKIP() << testing::NO_GOLDEN;
  }
  auto log = readLog(*golden);
  EXPECT_EQ(reasonOf(log), "");
  if (records > 0) {
    EXPECT_EQ(log.records.size(), records);
  }
  EXPECT_GT(log.records.size(), 0u);

  auto again = newDirectory();
  writeLog(*again, log.records, segmentSize);
  size_t segments = 0;
  for (auto& segment : listWalSegments(*golden)) {
    auto name = walSegmentName(segment.number);
    ASSERT_TRUE(again->exists(kj::Path(name))) << name.cStr();
    EXPECT_TRUE(readFile(*again, name) == readFile(*golden, name)) << name.cStr();
    ++segments;
  }
  EXPECT_EQ(fileNames(*again).size(), segments);
}

TEST(WalGolden, GoodWalIsWrittenAgain) {
  expectSameAgain("wal-faults/good-wal", WAL_DEFAULT_SEGMENT_SIZE, 9);
}
TEST(WalGolden, GoodSegmentsIsWrittenAgain) {
  expectSameAgain("wal-faults/good-segments", 2 * WAL_PAGE_SIZE, 12);
}
TEST(WalGolden, GoodPageEdgesIsWrittenAgain) {
  expectSameAgain("wal-faults/good-page-edges", WAL_DEFAULT_SEGMENT_SIZE, 16);
}
TEST(WalGolden, GoodSegmentEdgesIsWrittenAgain) {
  expectSameAgain("wal-faults/good-segment-edges", 2 * WAL_PAGE_SIZE, 0);
}
TEST(WalGolden, GoodCheckpointIsWrittenAgain) {
  expectSameAgain("wal-faults/good-checkpoint", WAL_PAGE_SIZE, 0);
}
TEST(WalGolden, ScenarioSmallIsWrittenAgain) {
  expectSameAgain("scenario-small/triedir", 3 * WAL_PAGE_SIZE, 0);
}
TEST(WalGolden, GenesisIsWrittenAgain) {
  expectSameAgain("flow-genesis/triedir", WAL_DEFAULT_SEGMENT_SIZE, 1);
}

}  // namespace
}  // namespace ledger
