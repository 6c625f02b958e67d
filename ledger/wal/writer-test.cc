// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/writer.h"

#include "ledger/wal/crc32c.h"
#include "ledger/wal/wal-testing.h"

#include <gtest/gtest.h>

#include <kj/debug.h>
#include <kj/encoding.h>

#include <csignal>
#include <cstdlib>
#include <functional>

#include <sys/resource.h>
#include <sys/stat.h>

namespace ledger {
namespace {

using testing::asBytes;
using testing::Faults;
using testing::fileNames;
using testing::newDirectory;
using testing::newFaultyDirectory;
using testing::pattern;
using testing::readFile;
using testing::readLog;
using testing::writeLog;

std::string fragment(WalFragmentType type, const std::string& payload) {
  kj::byte header[WAL_HEADER_SIZE];
  WalFragmentHeader{static_cast<uint8_t>(type), static_cast<uint16_t>(payload.size()),
                    crc32c(asBytes(payload))}
      .encode(header);
  return std::string(reinterpret_cast<char*>(header), sizeof(header)) + payload;
}

std::string failureOf(std::function<void()> action) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { action(); })) {
    return exception->getDescription().cStr();
  }
  return "";
}

// The worked file of the format's description: catches any change of header, order or padding.
TEST(WalWriter, WritesTheWorkedExample) {
  auto hex = [](kj::StringPtr text) { return testing::asString(kj::decodeHex(text.asArray())); };
  std::string zeros28(28, '\0'), zeros30(30, '\0');
  std::string state = hex("02010307") + zeros28;
  std::string update = hex("010000"
                           "0b0020") +
                       state +
                       hex("000000020020"
                           "0001") +
                       zeros30 + hex("0304") + zeros30 +
                       hex("0000001600000009000100000003000001"
                           "000000000000000102"
                           "000000180000000a0001000000040000000200000000000000020003");
  std::string removal = hex("020020") + state;
  ASSERT_EQ(update.size(), 162u);

  auto directory = newDirectory();
  WalWriter writer(directory->clone(), {});
  writer.append(asBytes(update));
  writer.commit();
  writer.append(asBytes(removal));
  writer.commit();

  auto open = readFile(*directory, "00000000");
  EXPECT_EQ(open, hex("0100a24489965c") + update + hex("010023e07884ee") + removal);
  EXPECT_EQ(open.size(), 211u);

  writer.close();
  EXPECT_EQ(readFile(*directory, "00000000"), open + std::string(32768 - 211, '\0'));
}

// Catches padding where a header still fits, and a missing zero-length fragment.
TEST(WalWriter, FillsSevenBytesWithAFirstFragmentWithoutBytesAndFewerWithZeros) {
  for (size_t left = 0; left <= 9; ++left) {
    SCOPED_TRACE(left);
    auto directory = newDirectory();
    auto big = pattern(WAL_PAGE_SIZE - WAL_HEADER_SIZE - left);
    auto small = pattern(20);
    writeLog(*directory, {big, small});

    auto expected = fragment(WalFragmentType::FULL, big);
    if (left < WAL_HEADER_SIZE) {
      expected += std::string(left, '\0') + fragment(WalFragmentType::FULL, small);
    } else {
      expected += fragment(WalFragmentType::FIRST, small.substr(0, left - WAL_HEADER_SIZE)) +
                  fragment(WalFragmentType::LAST, small.substr(left - WAL_HEADER_SIZE));
    }
    expected.resize(2 * WAL_PAGE_SIZE, '\0');
    EXPECT_EQ(readFile(*directory, "00000000"), expected);
    EXPECT_EQ(readLog(*directory).records, (std::vector<std::string>{big, small}));
  }
}

// Catches an off-by-one in the room that a segment has left, at each side of the limit.
TEST(WalWriter, ChangesSegmentExactlyWhenARecordDoesNotFit) {
  constexpr uint64_t SIZE = 4 * WAL_PAGE_SIZE;
  auto before = pattern(40000);
  // Two fragments of `before`, then the rest of page 1 and pages 2 and 3 with a header each.
  size_t room = SIZE - 4 * WAL_HEADER_SIZE - WAL_HEADER_SIZE - before.size();
  for (size_t length : {room - 1, room, room + 1}) {
    auto directory = newDirectory();
    auto after = pattern(length, 7);
    writeLog(*directory, {before, after}, SIZE);
    bool fits = length <= room;
    auto names = fileNames(*directory);
    EXPECT_EQ(names.size(), fits ? 1u : 2u) << length;
    EXPECT_EQ(readFile(*directory, "00000000").size(), fits ? SIZE : 2 * WAL_PAGE_SIZE) << length;
    EXPECT_EQ(readLog(*directory).records, (std::vector<std::string>{before, after}));
  }
}

// A record longer than a segment goes whole into the next one, even if the current one is empty;
// what follows goes into the one after.
TEST(WalWriter, GivesAnOverlongRecordASegmentOfItsOwn) {
  auto directory = newDirectory();
  std::vector<std::string> records{pattern(200000), pattern(10), pattern(200000, 2), pattern(5)};
  writeLog(*directory, records, 4 * WAL_PAGE_SIZE);
  EXPECT_EQ(fileNames(*directory),
            (std::vector<std::string>{"00000000", "00000001", "00000002", "00000003", "00000004"}));
  EXPECT_EQ(readFile(*directory, "00000000").size(), 0u);
  EXPECT_EQ(readFile(*directory, "00000001").size(), 7 * WAL_PAGE_SIZE);
  EXPECT_EQ(readLog(*directory).records, records);
}

std::vector<std::string> mixedRecords() {
  std::vector<std::string> records;
  for (size_t i = 0; i < 60; ++i) records.push_back(pattern(1 + i * i * 37 % 45000, i + 1));
  return records;
}

// Catches a layout that depends on where groups begin, for every way to cut into equal groups.
TEST(WalWriter, WritesTheSameBytesHoweverRecordsAreGrouped) {
  auto records = mixedRecords();
  auto single = newDirectory();
  writeLog(*single, records, 4 * WAL_PAGE_SIZE);
  ASSERT_GT(fileNames(*single).size(), 5u);

  for (size_t groupOf : {2, 3, 7, 59, 60}) {
    auto directory = newDirectory();
    WalWriter writer(directory->clone(), {.segmentSize = 4 * WAL_PAGE_SIZE});
    for (size_t i = 0; i < records.size(); ++i) {
      writer.append(asBytes(records[i]));
      if (i % groupOf == groupOf - 1) writer.commit();
    }
    writer.close();
    ASSERT_EQ(fileNames(*directory), fileNames(*single));
    for (auto& name : fileNames(*single)) {
      EXPECT_TRUE(readFile(*directory, name.c_str()) == readFile(*single, name.c_str()))
          << name << " in groups of " << groupOf;
    }
  }
}

// A group is one write and one sync in each segment; a new segment's name is synced before its
// bytes. Catches a sync per record, or none.
TEST(WalWriter, WritesAndSyncsOncePerGroupAndSegment) {
  Faults counts;
  WalWriter writer(newFaultyDirectory(newDirectory(), counts), {.segmentSize = 2 * WAL_PAGE_SIZE});
  EXPECT_EQ(counts.directorySyncCount, 1);
  for (int i = 0; i < 10; ++i) writer.append(asBytes(pattern(100)));
  EXPECT_EQ(counts.writeCount, 0);
  writer.commit();
  EXPECT_EQ(counts.writeCount, 1);
  EXPECT_EQ(counts.datasyncCount, 1);

  for (int i = 0; i < 3; ++i) writer.append(asBytes(pattern(40000)));  // Into segments 0, 1, 2.
  writer.commit();
  EXPECT_EQ(writer.segment(), 2u);
  EXPECT_EQ(counts.writeCount, 4);
  EXPECT_EQ(counts.datasyncCount, 4);
  EXPECT_EQ(counts.directorySyncCount, 3);

  writer.commit();  // Nothing to do.
  EXPECT_EQ(counts.datasyncCount, 4);
}

// flow-go writes on behind a failed write on a misaligned file. Whatever part of the bytes reached
// the disk, the log afterwards is as if the failed group had never been.
TEST(WalWriter, CutsAFailedWriteAwayAndGoesOn) {
  auto records = mixedRecords();
  auto expected = newDirectory();
  writeLog(*expected, records, 4 * WAL_PAGE_SIZE);

  for (size_t reached : {0, 1, 7, 100, 32768, 40000}) {
    SCOPED_TRACE(reached);
    Faults faults;
    auto directory = newDirectory();
    WalWriter writer(newFaultyDirectory(directory->clone(), faults),
                     {.segmentSize = 4 * WAL_PAGE_SIZE});
    for (size_t i = 0; i < records.size(); ++i) {
      // A failing group: into this segment, at its first, second and third piece.
      for (int fault = 0; fault < 3; ++fault) {
        auto current = walSegmentName(writer.segment());
        auto before = readFile(*directory, current);
        writer.append(asBytes(records[i]));
        writer.append(asBytes(pattern(60000, 99)));
        writer.append(asBytes(pattern(90000, 98)));
        writer.append(asBytes(pattern(120000, 97)));
        faults.writes = fault;
        faults.shortWrite = reached;
        EXPECT_NE(failureOf([&]() { writer.commit(); }).find("no space left"), std::string::npos);
        faults.writes = Faults::NEVER;
        EXPECT_FALSE(writer.isPoisoned());
        EXPECT_TRUE(readFile(*directory, current) == before);
        EXPECT_EQ(writer.groupSize(), 0u);
      }
      writer.append(asBytes(records[i]));
      writer.commit();
    }
    writer.close();
    ASSERT_EQ(fileNames(*directory), fileNames(*expected));
    for (auto& name : fileNames(*expected)) {
      EXPECT_TRUE(readFile(*directory, name.c_str()) == readFile(*expected, name.c_str())) << name;
    }
  }
}

// A segment that cannot be created is a failed write: nothing is left of the group.
TEST(WalWriter, UndoesAGroupWhoseNextSegmentCannotBeCreated) {
  Faults faults;
  auto directory = newDirectory();
  WalWriter writer(newFaultyDirectory(directory->clone(), faults),
                   {.segmentSize = 2 * WAL_PAGE_SIZE});
  writer.append(asBytes("kept"));
  writer.commit();
  writer.append(asBytes(pattern(40000)));
  writer.append(asBytes(pattern(40000)));
  faults.creates = 0;
  EXPECT_NE(failureOf([&]() { writer.commit(); }), "");
  faults.creates = Faults::NEVER;
  EXPECT_FALSE(writer.isPoisoned());
  EXPECT_EQ(fileNames(*directory), std::vector<std::string>{"00000000"});
  writer.append(asBytes("next"));
  writer.close();
  EXPECT_EQ(readLog(*directory).records, (std::vector<std::string>{"kept", "next"}));
}

// After a failed sync nobody knows what is on disk. Catches a writer that asks again, or goes on.
TEST(WalWriter, IsPoisonedByAFailedSync) {
  for (bool ofDirectory : {false, true}) {
    Faults faults;
    auto directory = newDirectory();
    WalWriter writer(newFaultyDirectory(directory->clone(), faults),
                     {.segmentSize = 2 * WAL_PAGE_SIZE});
    writer.append(asBytes("kept"));
    writer.commit();

    writer.append(asBytes(pattern(40000)));
    writer.append(asBytes(pattern(40000)));
    (ofDirectory ? faults.syncs : faults.datasyncs) = 0;
    EXPECT_NE(failureOf([&]() { writer.commit(); }).find("injected fault"), std::string::npos);
    faults = Faults();

    EXPECT_TRUE(writer.isPoisoned());
    for (int i = 0; i < 2; ++i) {
      auto why = failureOf([&]() { writer.append(asBytes("more")); });
      EXPECT_NE(why.find("restart"), std::string::npos) << why;
      EXPECT_NE(why.find("injected fault"), std::string::npos) << why;
    }
    EXPECT_NE(failureOf([&]() { writer.commit(); }), "");
    EXPECT_NE(failureOf([&]() { writer.close(); }), "");
    // What was refused is not found again.
    EXPECT_EQ(readLog(*directory).records, std::vector<std::string>{"kept"});
    EXPECT_EQ(fileNames(*directory), std::vector<std::string>{"00000000"});
  }
}

// Catches a writer that stays in use although the failed bytes are still in the file.
TEST(WalWriter, IsPoisonedIfAFailedWriteCannotBeCutAway) {
  for (bool truncateFails : {false, true}) {
    Faults faults;
    WalWriter writer(newFaultyDirectory(newDirectory(), faults), {});
    writer.append(asBytes("lost"));
    faults.writes = 0;
    (truncateFails ? faults.truncates : faults.syncs) = 0;
    EXPECT_NE(failureOf([&]() { writer.commit(); }).find("no space left"), std::string::npos);
    faults = Faults();
    EXPECT_TRUE(writer.isPoisoned());
    EXPECT_NE(failureOf([&]() { writer.append(asBytes("more")); }), "");
  }
}

// Whichever step of the undoing fails, the others are done: catches bytes of a refused group that
// the next start would take for records, and segments left with a gap between them.
TEST(WalWriter, LeavesNoRecordOfAFailedGroupWhateverElseFails) {
  struct {
    int Faults::*step;
    int countdown;
    std::vector<std::string> names;
  } cases[] = {
      {&Faults::removes, 0, {"00000000", "00000001", "00000002"}},
      {&Faults::removes, 1, {"00000000", "00000001"}},
      {&Faults::truncates, 1, {"00000000"}},
      {&Faults::truncates, 2, {"00000000"}},
      {&Faults::syncs, 2, {"00000000"}},  // The two before are of the new segments' names.
  };
  for (auto& fault : cases) {
    SCOPED_TRACE(&fault - cases);
    Faults faults;
    auto directory = newDirectory();
    WalWriter writer(newFaultyDirectory(directory->clone(), faults),
                     {.segmentSize = 2 * WAL_PAGE_SIZE});
    writer.append(asBytes("kept"));
    writer.commit();
    const auto before = readFile(*directory, "00000000");

    for (int i = 0; i < 3; ++i) writer.append(asBytes(pattern(40000)));  // Into segments 0, 1, 2.
    faults.writes = 2;
    faults.shortWrite = 1000;
    faults.*fault.step = fault.countdown;
    EXPECT_NE(failureOf([&]() { writer.commit(); }).find("no space left"), std::string::npos);
    EXPECT_TRUE(writer.isPoisoned());

    EXPECT_EQ(fileNames(*directory), fault.names);
    EXPECT_TRUE(readFile(*directory, "00000000") == before);
    auto log = readLog(*directory);
    EXPECT_TRUE(log.records == std::vector<std::string>{"kept"});
    EXPECT_TRUE(log.damage == nullptr);
  }
}

// flow-go reads only numbers without gaps; and nothing that exists may be written over.
TEST(WalWriter, CreatesTheSegmentsBelowItsOwnAndNeverTouchesExistingOnes) {
  auto directory = newDirectory();
  writeLog(*directory, {"old"});
  WalWriter writer(directory->clone(), {.segment = 3, .firstToCreate = 1});
  writer.append(asBytes("new"));
  writer.close();
  EXPECT_EQ(fileNames(*directory),
            (std::vector<std::string>{"00000000", "00000001", "00000002", "00000003"}));
  EXPECT_EQ(readFile(*directory, "00000002"), "");
  EXPECT_EQ(readLog(*directory).records, (std::vector<std::string>{"old", "new"}));

  EXPECT_NE(failureOf([&]() {
              WalWriter again(directory->clone(), {.segment = 3, .firstToCreate = 3});
            }).find("00000003"),
            std::string::npos);
}

// The real calls: a file size limit makes pwrite() stop in the middle of a group, as a full disk
// does. Catches what the files in memory hide: modes, descriptors, sync of a directory.
TEST(WalWriter, SurvivesAFullDiskOnRealFiles) {
  char path[] = "/tmp/ledger-wal-XXXXXX";
  KJ_ASSERT(mkdtemp(path) != nullptr);
  auto filesystem = kj::newDiskFilesystem();
  auto name = kj::Path::parse(kj::StringPtr(path).slice(1));
  KJ_DEFER(filesystem->getRoot().remove(name));
  auto directory = filesystem->getRoot().openSubdir(name, kj::WriteMode::MODIFY);

  WalWriter writer(directory->clone(), {.segmentSize = 4 * WAL_PAGE_SIZE});
  writer.append(asBytes("kept"));
  writer.commit();

  rlimit before;
  KJ_SYSCALL(getrlimit(RLIMIT_FSIZE, &before));
  rlimit limit = before;
  limit.rlim_cur = 100000;
  auto handler = signal(SIGXFSZ, SIG_IGN);
  KJ_SYSCALL(setrlimit(RLIMIT_FSIZE, &limit));
  writer.append(asBytes(pattern(60000)));
  writer.append(asBytes(pattern(60000)));  // Beyond the limit.
  writer.append(asBytes(pattern(60000)));  // Never reached: another segment.
  auto why = failureOf([&]() { writer.commit(); });
  KJ_SYSCALL(setrlimit(RLIMIT_FSIZE, &before));
  signal(SIGXFSZ, handler);

  EXPECT_NE(why, "");
  EXPECT_FALSE(writer.isPoisoned());
  EXPECT_EQ(readFile(*directory, "00000000").size(), 11u);
  writer.append(asBytes("next"));
  writer.append(asBytes(pattern(131040)));
  writer.close();
  EXPECT_EQ(readLog(*directory).records,
            (std::vector<std::string>{"kept", "next", pattern(131040)}));

  struct stat status;
  KJ_SYSCALL(stat(kj::str(path, "/00000001").cStr(), &status));
  mode_t mask = umask(0);
  umask(mask);
  EXPECT_EQ(status.st_mode & 0777, 0666u & ~mask);
}

TEST(WalWriter, DiscardForgetsTheGroup) {
  auto directory = newDirectory();
  WalWriter writer(directory->clone(), {});
  writer.append(asBytes("a"));
  writer.commit();
  writer.append(asBytes("never"));
  writer.discard();
  writer.append(asBytes("b"));
  writer.close();
  EXPECT_EQ(readLog(*directory).records, (std::vector<std::string>{"a", "b"}));
}

TEST(WalWriter, RefusesEmptyRecordsAndOddSegmentSizes) {
  WalWriter writer(newDirectory(), {});
  EXPECT_NE(failureOf([&]() { writer.append(nullptr); }), "");
  for (uint64_t size : {uint64_t(0), uint64_t(1), WAL_PAGE_SIZE + 1}) {
    EXPECT_NE(failureOf([&]() { WalWriter odd(newDirectory(), {.segmentSize = size}); }), "");
  }
}

// --- Syncing later ---

TEST(WalWriterSyncingLater, LeavesItToSync) {
  Faults faults;
  auto directory = newDirectory();
  WalWriter writer(newFaultyDirectory(directory->clone(), faults), {.sync = WalSync::LATER});
  EXPECT_TRUE(writer.isSynced());
  for (int i = 0; i < 10; ++i) {
    writer.append(asBytes(pattern(1000, i)));
    writer.commit();
  }
  EXPECT_EQ(faults.datasyncCount, 0);
  EXPECT_FALSE(writer.isSynced());
  writer.sync();
  EXPECT_EQ(faults.datasyncCount, 1);
  EXPECT_TRUE(writer.isSynced());
  writer.sync();  // Nothing to do.
  EXPECT_EQ(faults.datasyncCount, 1);
  EXPECT_EQ(readLog(*directory).records.size(), 10u);
}

// What a crash may tear stays in the last segment.
TEST(WalWriterSyncingLater, SyncsASegmentBeforeItBeginsTheNext) {
  Faults faults;
  auto directory = newDirectory();
  WalWriter writer(newFaultyDirectory(directory->clone(), faults),
                   {.segmentSize = 2 * WAL_PAGE_SIZE, .sync = WalSync::LATER});
  writer.append(asBytes(pattern(40000)));
  writer.commit();
  EXPECT_EQ(faults.datasyncCount, 0);
  writer.append(asBytes(pattern(40000)));
  writer.commit();
  EXPECT_EQ(writer.segment(), 1u);
  EXPECT_EQ(faults.datasyncCount, 1);
  EXPECT_EQ(readLog(*directory).records.size(), 2u);
}

// And within what a reader takes for a torn tail of its end.
TEST(WalWriterSyncingLater, NeverHasMoreThanAGroupUnsynced) {
  Faults faults;
  WalWriter writer(newFaultyDirectory(newDirectory(), faults), {.sync = WalSync::LATER});
  const auto record = pattern(1 << 20);
  auto write = [&](uint64_t records) {
    for (uint64_t i = 0; i < records; ++i) {
      writer.append(asBytes(record));
      writer.commit();
    }
  };
  write(WAL_MAX_GROUP / record.size() - 1);
  EXPECT_EQ(faults.datasyncCount, 0);
  write(2);
  EXPECT_EQ(faults.datasyncCount, 1);
}

TEST(WalWriterSyncingLater, AFailedSyncPoisonsIt) {
  Faults faults;
  WalWriter writer(newFaultyDirectory(newDirectory(), faults), {.sync = WalSync::LATER});
  writer.append(asBytes("record"));
  writer.commit();
  faults.datasyncs = 0;
  EXPECT_NE(failureOf([&]() { writer.sync(); }), "");
  EXPECT_TRUE(writer.isPoisoned());
  faults.datasyncs = Faults::NEVER;
  EXPECT_NE(failureOf([&]() { writer.append(asBytes("record")); }), "");
}

// --- Finishing a segment ---

TEST(WalWriter, ASegmentCanBeFinishedBeforeItIsFull) {
  for (auto sync : {WalSync::COMMIT, WalSync::LATER}) {
    Faults faults;
    auto directory = newDirectory();
    WalWriter writer(newFaultyDirectory(directory->clone(), faults), {.sync = sync});
    writer.append(asBytes("first"));
    EXPECT_EQ(writer.finishSegment(), 0u);
    EXPECT_TRUE(writer.isSynced());
    EXPECT_GE(faults.datasyncCount, 1);
    EXPECT_EQ(writer.segment(), 1u);
    EXPECT_EQ(readFile(*directory, "00000000").size(), WAL_PAGE_SIZE);
    writer.append(asBytes("second"));
    EXPECT_EQ(writer.appendedSegment(), 1u);
    writer.close();
    auto log = readLog(*directory);
    EXPECT_EQ(log.records, (std::vector<std::string>{"first", "second"}));
    EXPECT_TRUE(log.damage == nullptr);
  }
}

TEST(WalWriter, AnEmptySegmentCanBeFinished) {
  auto directory = newDirectory();
  WalWriter writer(directory->clone(), {});
  EXPECT_EQ(writer.finishSegment(), 0u);
  EXPECT_EQ(writer.finishSegment(), 1u);
  EXPECT_EQ(fileNames(*directory), (std::vector<std::string>{"00000000", "00000001", "00000002"}));
}

// A full disk: nothing of the next segment stays, and the writer goes on where it was. Would catch
// padding that stays: behind it the segment is over for readers.
TEST(WalWriter, ASegmentThatCannotBeBegunChangesNothing) {
  Faults faults;
  auto directory = newDirectory();
  WalWriter writer(newFaultyDirectory(directory->clone(), faults), {});
  writer.append(asBytes("first"));
  writer.commit();
  faults.creates = 0;
  EXPECT_NE(failureOf([&]() { writer.finishSegment(); }), "");
  EXPECT_FALSE(writer.isPoisoned());
  faults.creates = Faults::NEVER;
  writer.append(asBytes("second"));
  writer.close();
  auto log = readLog(*directory);
  EXPECT_EQ(log.records, (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(fileNames(*directory), std::vector<std::string>{"00000000"});
}

}  // namespace
}  // namespace ledger
