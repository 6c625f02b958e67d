// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/torn-tail.h"

#include "ledger/wal/wal-testing.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

#include <string_view>

namespace ledger {
namespace {

using testing::asBytes;
using testing::Faults;
using testing::fileNames;
using testing::goldenDirectory;
using testing::newDirectory;
using testing::pattern;
using testing::readFile;
using testing::readLog;
using testing::writeFile;
using testing::writeLog;

enum class Verdict { CLEAN, TORN, REFUSED };

Verdict verdictOf(const kj::ReadableDirectory& directory, const testing::ReadLog& log,
                  std::string* message = nullptr) {
  KJ_IF_MAYBE (damage, log.damage) {
    auto segments = listWalSegments(directory);
    KJ_IF_MAYBE (error, refuseUnlessTorn(directory, segments, *damage)) {
      if (message != nullptr) *message = error->message.cStr();
      return Verdict::REFUSED;
    }
    return Verdict::TORN;
  }
  return Verdict::CLEAN;
}

TornTail cut(const kj::Directory& directory, const testing::ReadLog& log) {
  return cutTornTail(directory, KJ_ASSERT_NONNULL(log.damage));
}

// Cuts a log of these records at every `step`th byte, and at each near a header or a page's border.
void expectEveryPrefixRecovers(const std::vector<std::string>& records, size_t step) {
  auto original = newDirectory();
  writeLog(*original, records);
  auto whole = readFile(*original, "00000000");
  auto ends = readLog(*original).ends;

  for (size_t size = 0; size <= ends.back().offset + 20; ++size) {
    bool near = size % step == 0 || size % WAL_PAGE_SIZE < 20 || size % WAL_PAGE_SIZE > 32740;
    for (auto& end : ends) near = near || (size + 20 > end.offset && size < end.offset + 20);
    if (!near) continue;
    SCOPED_TRACE(size);

    auto directory = newDirectory();
    writeFile(*directory, "00000000", whole.substr(0, size));
    auto log = readLog(*directory);
    size_t complete = 0;
    while (complete < ends.size() && ends[complete].offset <= size) ++complete;
    ASSERT_EQ(log.records.size(), complete);

    uint64_t goodEnd = complete == 0 ? 0 : ends[complete - 1].offset;
    auto verdict = verdictOf(*directory, log);
    bool padding =
        size - goodEnd < WAL_HEADER_SIZE && whole.find_first_not_of('\0', goodEnd) >= size;
    ASSERT_EQ(verdict, size == goodEnd || padding || complete == ends.size() ? Verdict::CLEAN
                                                                             : Verdict::TORN);
    if (verdict == Verdict::TORN) {
      auto torn = cut(*directory, log);
      EXPECT_EQ(torn.offset, goodEnd);
      EXPECT_EQ(torn.length, size - goodEnd);
      EXPECT_TRUE(readFile(*directory, torn.backup) == whole.substr(goodEnd, size - goodEnd));
      EXPECT_EQ(readFile(*directory, "00000000").size(), goodEnd);
    }
    WalWriter writer(directory->clone(), {.segment = 1, .firstToCreate = 1});
    writer.append(asBytes("afterwards"));
    writer.close();
    auto again = readLog(*directory);
    EXPECT_TRUE(again.damage == nullptr);
    ASSERT_EQ(again.records.size(), complete + 1);
    EXPECT_EQ(again.records.back(), "afterwards");
  }
}

// A crash may leave any prefix. Whatever is left, the records before it are read, the rest is cut
// and kept, and records written afterwards are found: flow-go loses those.
TEST(TornTail, EveryPrefixOfASmallLogIsReadCutAndContinued) {
  expectEveryPrefixRecovers({pattern(100), pattern(35, 2), "x", pattern(300, 3)}, 1);
}

TEST(TornTail, PrefixesOfALogOfTwoPagesAreReadCutAndContinued) {
  expectEveryPrefixRecovers(
      {pattern(100), pattern(32600, 2), pattern(400, 3), "x", pattern(300, 4)}, 97);
}

// One flipped bit never changes or loses a record without a word: behind a record that is followed
// by others it is refused, in the last one it cannot be told from a torn write.
TEST(TornTail, EveryFlippedBitIsSeen) {
  auto original = newDirectory();
  std::vector<std::string> records{pattern(40), pattern(30, 2), "x", pattern(50, 3)};
  writeLog(*original, records);
  auto good = readLog(*original);
  auto whole = readFile(*original, "00000000");
  uint64_t end = good.ends.back().offset;
  uint64_t lastStart = good.starts.back().offset;

  unsigned compressed = 0, unseen = 0;
  for (size_t at = 0; at < end + 16; ++at) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      SCOPED_TRACE(kj::str(at, " bit ", bit).cStr());
      auto bytes = whole;
      bytes[at] ^= static_cast<char>(1 << bit);
      auto directory = newDirectory();
      writeFile(*directory, "00000000", bytes);

      testing::ReadLog log;
      KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { log = readLog(*directory); })) {
        EXPECT_EQ(bit, 3u) << exception->getDescription().cStr();
        ++compressed;
        continue;
      }
      size_t before = 0;
      while (before < records.size() && good.ends[before].offset <= at) ++before;
      auto verdict = verdictOf(*directory, log);
      if (verdict == Verdict::CLEAN) {
        EXPECT_GE(bit, 3u);  // Bits of a type byte that are not looked at.
        EXPECT_EQ(log.records, records);
        ++unseen;
        continue;
      }
      EXPECT_EQ(log.records, (std::vector<std::string>(records.begin(), records.begin() + before)));
      EXPECT_EQ(verdict, at < lastStart ? Verdict::REFUSED : Verdict::TORN);
    }
  }
  EXPECT_EQ(compressed, 4u);      // Bit 3 of each header.
  EXPECT_EQ(unseen, 4u * 4 + 5);  // Bits 4 to 7 of each, 3 to 7 of the first padding byte.
}

// Catches a tail that is cut although records that were acknowledged lie behind it.
TEST(TornTail, RefusesDamageBeforeALaterSegment) {
  auto directory = newDirectory();
  writeLog(*directory, {"first", "second"});
  auto bytes = readFile(*directory, "00000000");
  writeFile(*directory, "00000000", bytes.substr(0, 20));
  writeFile(*directory, "00000001", "");
  EXPECT_EQ(verdictOf(*directory, readLog(*directory)), Verdict::TORN);

  writeFile(*directory, "00000002", bytes);
  std::string message;
  EXPECT_EQ(verdictOf(*directory, readLog(*directory), &message), Verdict::REFUSED);
  for (auto part : {"00000000", "offset 12", "00000002", "backup", "checkpoint"}) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
}

// A group is at most 16 MiB; only one record may be longer.
TEST(TornTail, RefusesMoreThanOneGroup) {
  auto directory = newDirectory();
  writeLog(*directory, {"good"});
  auto good = readFile(*directory, "00000000").substr(0, 11);
  auto garbage = good + "\5" + std::string(WAL_MAX_GROUP, 'g');
  writeFile(*directory, "00000000", garbage.substr(0, 11 + WAL_MAX_GROUP));
  EXPECT_EQ(verdictOf(*directory, readLog(*directory)), Verdict::TORN);
  writeFile(*directory, "00000000", garbage);
  EXPECT_EQ(verdictOf(*directory, readLog(*directory)), Verdict::REFUSED);

  // Zeros behind it are nothing that was written.
  garbage.resize(18u << 20, '\0');
  garbage[11 + WAL_MAX_GROUP] = '\0';
  writeFile(*directory, "00000000", garbage);
  EXPECT_EQ(verdictOf(*directory, readLog(*directory)), Verdict::TORN);

  // Behind the beginning of a record.
  auto begun = newDirectory();
  writeLog(*begun, {"good", pattern(40000)});
  auto bytes = readFile(*begun, "00000000").substr(0, WAL_PAGE_SIZE);
  writeFile(*begun, "00000000", bytes + std::string(WAL_MAX_GROUP + 1, 'g'));
  EXPECT_EQ(verdictOf(*begun, readLog(*begun)), Verdict::REFUSED);
}

// Parts of one long record reached the disk, whichever. Catches a start that is refused after a
// crash in the middle of a Set of more than 16 MiB.
TEST(TornTail, CutsARecordLongerThanAGroupWhateverIsLeftOfIt) {
  constexpr size_t SIZE = 17u << 20;
  auto directory = newDirectory();
  writeLog(*directory, {"good", pattern(SIZE)});
  const auto whole = readFile(*directory, "00000000");
  ASSERT_GT(whole.size(), SIZE);

  struct Missing {
    size_t from, to;
  } cases[] = {
      {11, WAL_PAGE_SIZE},            // Its first page.
      {11, 4096},                     // Of that, what the file system has as a page.
      {1 << 20, (1 << 20) + 4096},    // A part of a page.
      {WAL_PAGE_SIZE, SIZE},          // All but the two ends.
      {WAL_PAGE_SIZE, whole.size()},  // All but the first page.
      {SIZE - WAL_PAGE_SIZE, SIZE},   // A page near the end.
  };
  for (auto& missing : cases) {
    SCOPED_TRACE(kj::str(missing.from, " to ", missing.to).cStr());
    auto bytes = whole;
    std::fill(bytes.begin() + missing.from, bytes.begin() + missing.to, '\0');
    writeFile(*directory, "00000000", bytes);
    auto log = readLog(*directory);
    EXPECT_EQ(log.records, std::vector<std::string>{"good"});
    ASSERT_EQ(verdictOf(*directory, log), Verdict::TORN);
    EXPECT_EQ(cut(*directory, log).offset, 11u);
  }
  writeFile(*directory, "00000000", whole.substr(0, SIZE - 12345));
  auto log = readLog(*directory);
  ASSERT_EQ(verdictOf(*directory, log), Verdict::TORN);
  EXPECT_EQ(cut(*directory, log).offset, 11u);
}

// Catches acknowledged records that are taken for one that was torn: more than a group of them,
// with the first pages of all gone, or a last one that is sound.
TEST(TornTail, RefusesSeveralRecordsThatAreLongerThanAGroup) {
  auto directory = newDirectory();
  writeLog(*directory, {"good", pattern(9u << 20), pattern(9u << 20, 2)});
  const auto starts = readLog(*directory).starts;
  ASSERT_EQ(starts.size(), 3u);
  auto bytes = readFile(*directory, "00000000");
  for (auto& start : {starts[1], starts[2]}) {
    auto from = bytes.begin() + start.offset;
    std::fill(from, from + (WAL_PAGE_SIZE - start.offset % WAL_PAGE_SIZE), '\0');
  }
  writeFile(*directory, "00000000", bytes);
  EXPECT_EQ(verdictOf(*directory, readLog(*directory)), Verdict::REFUSED);

  auto followed = newDirectory();
  writeLog(*followed, {"good", pattern(17u << 20), "acknowledged"});
  bytes = readFile(*followed, "00000000");
  std::fill(bytes.begin() + (1 << 20), bytes.begin() + (1 << 20) + 4096, '\0');
  writeFile(*followed, "00000000", bytes);
  EXPECT_EQ(verdictOf(*followed, readLog(*followed)), Verdict::REFUSED);
}

// Catches a page that is missing in the middle of the log and passes as padding: what it held was
// acknowledged.
TEST(TornTail, RefusesAMissingPageBeforeASoundRecord) {
  auto directory = newDirectory();
  writeLog(*directory, {pattern(WAL_MAX_FRAGMENT), pattern(WAL_MAX_FRAGMENT, 2), "acknowledged"});
  auto bytes = readFile(*directory, "00000000");
  std::fill(bytes.begin() + WAL_PAGE_SIZE, bytes.begin() + 2 * WAL_PAGE_SIZE, '\0');
  writeFile(*directory, "00000000", bytes);
  std::string message;
  EXPECT_EQ(verdictOf(*directory, readLog(*directory), &message), Verdict::REFUSED);
  EXPECT_NE(message.find("offset 65536"), std::string::npos) << message;
}

// Catches a cut that happens before its bytes are safe, and a second cut over the first one's copy.
TEST(TornTail, KeepsTheBytesWhateverFails) {
  auto directory = newDirectory();
  writeLog(*directory, {"first", "second"});
  auto torn = readFile(*directory, "00000000").substr(0, 20);
  writeFile(*directory, "00000000", torn);
  auto log = readLog(*directory);

  Faults faults;
  auto faulty = testing::newFaultyDirectory(directory->clone(), faults);
  for (int step = 0; step < 3; ++step) {
    faults = Faults();
    (step == 0 ? faults.writes : step == 1 ? faults.syncs : faults.truncates) = 0;
    EXPECT_ANY_THROW(cut(*faulty, log));
    EXPECT_EQ(readFile(*directory, "00000000"), torn) << step;
  }
  faults = Faults();
  auto done = cut(*faulty, log);
  EXPECT_EQ(std::string(done.backup.cStr()), "torn-00000000-12-3.bak");
  EXPECT_EQ(readFile(*directory, done.backup), torn.substr(12));
  EXPECT_EQ(readLog(*directory).records, std::vector<std::string>{"first"});
  EXPECT_EQ(listWalSegments(*directory).size(), 1u);
}

// What flow-go's directories with damage hold: how many records, and the verdict on the rest.
struct GoldenFault {
  const char* directory;
  size_t records;
  Verdict verdict;
};

constexpr GoldenFault GOLDEN_FAULTS[] = {
    {"good-wal", 9, Verdict::CLEAN},
    {"good-segments", 12, Verdict::CLEAN},
    {"wal-unpadded", 9, Verdict::CLEAN},
    {"wal-torn-0001", 8, Verdict::TORN},
    {"wal-torn-0003", 8, Verdict::TORN},
    {"wal-torn-0007", 8, Verdict::TORN},
    {"wal-torn-0008", 8, Verdict::TORN},
    {"wal-torn-3385", 8, Verdict::TORN},
    {"wal-torn-6769", 8, Verdict::TORN},
    {"wal-torn-previous", 7, Verdict::TORN},
    {"wal-empty-segment", 0, Verdict::CLEAN},
    {"wal-zero-tail", 8, Verdict::TORN},
    {"wal-zero-last-record", 8, Verdict::CLEAN},
    {"wal-zero-middle-record", 4, Verdict::REFUSED},
    {"wal-flip-data", 4, Verdict::REFUSED},
    {"wal-flip-crc", 4, Verdict::REFUSED},
    {"wal-flip-length", 4, Verdict::REFUSED},
    {"wal-flip-type", 9, Verdict::CLEAN},
    {"wal-bad-type", 4, Verdict::REFUSED},
    {"wal-garbage-padding", 9, Verdict::TORN},
    {"wal-flip-first", 0, Verdict::REFUSED},
    {"wal-renamed", 9, Verdict::CLEAN},
    {"wal-stray-files", 9, Verdict::CLEAN},
    {"segments-flip-middle", 4, Verdict::REFUSED},
    {"segments-truncated-middle", 4, Verdict::REFUSED},
    {"segments-truncated-page", 4, Verdict::REFUSED},
    {"segments-missing-last", 9, Verdict::CLEAN},
    {"segments-last-first-page-only", 10, Verdict::TORN},
};

TEST(WalGolden, EachDamagedDirectoryGetsItsVerdict) {
  // Of good-wal, from faults.json: where its records lie.
  constexpr uint64_t ENDS[] = {3610, 5199, 7935, 13557, 14737, 15953, 22263, 26527, 33297};
  for (auto& fault : GOLDEN_FAULTS) {
    SCOPED_TRACE(fault.directory);
    kj::Own<const kj::ReadableDirectory> golden;
    KJ_IF_MAYBE (found, goldenDirectory(kj::str("wal-faults/", fault.directory))) {
      golden = kj::mv(*found);
    } else {
      GTEST_SKIP() << testing::NO_GOLDEN;
    }
    auto log = readLog(*golden);
    EXPECT_EQ(log.records.size(), fault.records);
    EXPECT_EQ(verdictOf(*golden, log), fault.verdict);
    if (std::string_view(fault.directory).substr(0, 3) == "wal") {
      for (size_t i = 0; i < log.records.size(); ++i) {
        EXPECT_EQ(log.starts[i].offset, i == 0 ? 0 : ENDS[i - 1]);
        EXPECT_EQ(log.ends[i].offset, ENDS[i]);
      }
      KJ_IF_MAYBE (damage, log.damage) {
        EXPECT_EQ(damage->goodEnd, fault.records == 0 ? 0 : ENDS[fault.records - 1]);
      }
    }
  }
}

}  // namespace
}  // namespace ledger
