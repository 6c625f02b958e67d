// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/simulated-disk.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <algorithm>

namespace ledger::testing {
namespace {

constexpr kj::WriteMode OVERWRITE = kj::WriteMode::CREATE | kj::WriteMode::MODIFY;
using Tears = SimulatedDisk::Tears;

class Disk : public ::testing::Test {
public:
  ~Disk() noexcept override {}

protected:
  kj::Own<const kj::File> create(const char* name) {
    return directory->openFile(kj::Path(name), kj::WriteMode::CREATE);
  }
  void rename(const char* from, const char* to) {
    directory->transfer(kj::Path(to), OVERWRITE, kj::Path(from), kj::TransferMode::MOVE);
  }
  bool survives(const FileBytes& files, Tears tears = Tears::FINE) {
    auto possible = disk.afterCrash(tears);
    return std::find(possible.begin(), possible.end(), files) != possible.end();
  }
  // What a step says if it fails.
  template <typename Step>
  std::string failureOf(Step&& step) {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions(step)) {
      return exception->getDescription().cStr();
    }
    return "";
  }

  SimulatedDisk disk{{{"00000000", "old"}}};
  kj::Own<const kj::Directory> directory = disk.directory();
};

TEST_F(Disk, WhatWasSyncedIsAllThatIsLeft) {
  auto file = create("00000001");
  file->write(0, "one"_kj.asBytes());
  EXPECT_TRUE(survives({{"00000000", "old"}}));
  file->sync();
  EXPECT_TRUE(survives({{"00000000", "old"}})) << "a synced file's name can be lost";
  EXPECT_FALSE(survives({{"00000000", "old"}, {"00000001", ""}}));
  directory->sync();
  EXPECT_EQ(disk.afterCrash(Tears::FINE),
            std::vector<FileBytes>({{{"00000000", "old"}, {"00000001", "one"}}}));
}

TEST_F(Disk, AWriteCanBeTornAnywhere) {
  auto file = directory->openFile(kj::Path("00000000"), kj::WriteMode::MODIFY);
  file->write(3, "news"_kj.asBytes());
  for (auto bytes : {"old", "oldn", "oldne", "oldnew", "oldnews"}) {
    EXPECT_TRUE(survives({{"00000000", bytes}})) << bytes;
  }
  EXPECT_TRUE(survives({{"00000000", std::string("old\0\0\0\0", 7)}}));
  EXPECT_FALSE(survives({{"00000000", "oldne"}}, Tears::COARSE));
}

TEST_F(Disk, AnyBlockOfAWriteCanBeMissing) {
  auto file = directory->openFile(kj::Path("00000000"), kj::WriteMode::MODIFY);
  const std::string data(10'000, 'x');
  file->write(3, kj::StringPtr(data.c_str()).asBytes());
  auto whole = "old" + data;
  for (size_t block = 0; block < 3; ++block) {
    auto torn = whole;
    for (size_t at = std::max<size_t>(3, block * 4096);
         at < std::min<size_t>(whole.size(), (block + 1) * 4096); ++at) {
      torn[at] = '\0';
    }
    EXPECT_TRUE(survives({{"00000000", torn}})) << block;
  }
  EXPECT_TRUE(survives({{"00000000", whole.substr(0, 4096)}}));
}

TEST_F(Disk, AnUnsyncedTruncationCanBeLost) {
  auto file = directory->openFile(kj::Path("00000000"), kj::WriteMode::MODIFY);
  file->truncate(1);
  EXPECT_TRUE(survives({{"00000000", "old"}}));
  EXPECT_TRUE(survives({{"00000000", "o"}}));
  file->write(1, "ther"_kj.asBytes());
  EXPECT_TRUE(survives({{"00000000", "other"}}));
  EXPECT_TRUE(survives({{"00000000", "o"}}));
}

TEST_F(Disk, EachChangeOfANameCanBeTheOnlyOne) {
  create("a");
  create("b");
  directory->sync();
  rename("a", "c");
  rename("b", "d");
  directory->remove(kj::Path("00000000"));
  EXPECT_TRUE(survives({{"00000000", "old"}, {"a", ""}, {"b", ""}}));
  EXPECT_TRUE(survives({{"00000000", "old"}, {"c", ""}, {"b", ""}}));
  EXPECT_TRUE(survives({{"00000000", "old"}, {"a", ""}, {"d", ""}}));
  EXPECT_TRUE(survives({{"a", ""}, {"b", ""}}));
  EXPECT_TRUE(survives({{"c", ""}, {"d", ""}}));
}

TEST_F(Disk, FailsAsItIsTold) {
  disk.failAt(1, SimulatedDisk::Fault::ONE_STEP, 2);
  auto file = create("00000001");  // Step 0.
  EXPECT_NE(failureOf([&]() { file->write(0, "one"_kj.asBytes()); }).find("No space left"),
            std::string::npos);
  EXPECT_EQ(disk.now()["00000001"], "on");
  file->write(0, "one"_kj.asBytes());

  disk.failAt(3, SimulatedDisk::Fault::ONE_STEP_LATE);
  EXPECT_NE(failureOf([&]() { file->write(0, "two"_kj.asBytes()); }), "");
  EXPECT_EQ(disk.now()["00000001"], "two");

  disk.failAt(4, SimulatedDisk::Fault::FULL_FROM_A_STEP);
  EXPECT_NE(failureOf([&]() { file->write(0, "one"_kj.asBytes()); }), "");
  EXPECT_NE(failureOf([&]() { create("00000002"); }), "");
  file->truncate(0);
  file->sync();

  disk.failAt(6, SimulatedDisk::Fault::ALL_FROM_A_STEP);
  EXPECT_NE(failureOf([&]() { file->truncate(0); }), "");
  EXPECT_NE(failureOf([&]() { file->sync(); }), "");
}

TEST_F(Disk, ASyncThatLiesKeepsNothing) {
  disk.lieAt(2);
  auto file = create("00000001");
  file->write(0, "one"_kj.asBytes());
  file->datasync();  // Step 2.
  directory->sync();
  EXPECT_TRUE(survives({{"00000000", "old"}, {"00000001", ""}}));
  file->datasync();
  EXPECT_FALSE(survives({{"00000000", "old"}, {"00000001", ""}}));

  disk.lieAt(disk.stepsTaken() + 1);
  create("00000002");
  directory->sync();
  EXPECT_TRUE(survives({{"00000000", "old"}, {"00000001", "one"}}));
}

TEST_F(Disk, ARenameCanOvertakeASync) {
  create("a");
  create("b");
  directory->sync();
  rename("a", "c");
  directory->sync();
  disk.lieAt(disk.stepsTaken());
  rename("b", "d");
  EXPECT_TRUE(survives({{"00000000", "old"}, {"a", ""}, {"d", ""}}));
  directory->sync();
  EXPECT_FALSE(survives({{"00000000", "old"}, {"a", ""}, {"d", ""}}));
}

TEST_F(Disk, StepsHaveLabels) {
  std::vector<std::string> labels;
  disk.onStep([&](const DiskStep& step) { labels.push_back(step.label()); });
  auto part = create("writing-checkpoint.00000007.016-123");
  part->write(0, "x"_kj.asBytes());
  part->sync();
  directory->sync();
  rename("writing-checkpoint.00000007.016-123", "checkpoint.00000007.016");
  create("writing-checkpoint.00000007-4");
  rename("writing-checkpoint.00000007-4", "checkpoint.00000007");
  directory->sync();
  auto segment = create("00000008");
  segment->datasync();
  segment->truncate(0);
  create("torn-00000008-0.bak");
  directory->remove(kj::Path("checkpoint.00000007.016"));
  EXPECT_EQ(labels,
            std::vector<std::string>({
                "create temporary top part", "write temporary top part", "sync temporary top part",
                "sync directory after create temporary top part", "rename top part",
                "create temporary header", "rename header", "sync directory after rename header",
                "create segment", "datasync segment", "truncate segment", "create torn backup",
                "remove top part"}));
  EXPECT_EQ(kindOf("root.checkpoint"), FileKind::HEADER);
  EXPECT_EQ(kindOf("root.checkpoint.003"), FileKind::PART);
  EXPECT_EQ(kindOf("writing-root.checkpoint.003-1"), FileKind::TEMPORARY_PART);
  EXPECT_EQ(kindOf(".lock"), FileKind::OTHER);
}

}  // namespace
}  // namespace ledger::testing
