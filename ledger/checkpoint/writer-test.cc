// SPDX-License-Identifier: Apache-2.0
// The bytes of checkpoints, and what the writer refuses. Beside flow-go's own files they are held
// in //tests/golden/checkpoints.
#include "ledger/checkpoint/writer.h"

#include "ledger/checkpoint-loader.h"
#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/writer-testing.h"
#include "ledger/trie/update.h"
#include "shm/memory-budget.h"

#include <gtest/gtest.h>

#include <kj/debug.h>
#include <kj/thread.h>

#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

namespace ledger {
namespace {

using testing::asDirectory;
using testing::CheckpointParts;
using testing::FileBytes;
using testing::filesOf;
using testing::fromHex;
using testing::simpleCheckpoint;
using testing::SimulatedDisk;

constexpr kj::StringPtr NAME = "checkpoint.00000007"_kj;

kj::Own<const Store> newStore() {
  return kj::atomicRefcounted<Store>(
      *shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 30),
      SegmentSizes{uint64_t(64) << 10, uint64_t(1) << 20, uint64_t(64) << 10});
}

struct Write {
  Path path;
  std::string key, value;
};

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

kj::Own<const Trie> update(const Trie& parent, const std::vector<Write>& writes) {
  TrieUpdater updater(kj::atomicAddRef(parent));
  auto paths = KJ_MAP(write, writes) {
    return write.path;
  };
  auto payloads = KJ_MAP(write, writes) {
    return Payload{bytesOf(write.key), bytesOf(write.value)};
  };
  KJ_ASSERT(updater.plan(paths, payloads, Stop::never()));
  KJ_ASSERT(updater.reserve() == nullptr);
  return updater.build();
}

Path pathFrom(uint8_t first, uint8_t last = 0) {
  Path path;
  path.bytes[0] = first;
  path.bytes[31] = last;
  return path;
}

// The registers of the worked example: a key of one part of type 0 with one letter.
Write lettered(uint8_t first, char key, char value) {
  return {pathFrom(first), fromHex("0001000000030000") + key, std::string(1, value)};
}

FileBytes write(kj::ArrayPtr<const kj::Own<const Trie>> tries,
                CheckpointWriteOptions options = {}) {
  SimulatedDisk disk;
  auto result = writeCheckpoint(*disk.directory(), NAME, tries, kj::mv(options));
  KJ_REQUIRE(result.is<WrittenCheckpoint>());
  auto files = disk.now();
  uint64_t bytes = 0;
  for (auto& [name, content] : files) bytes += content.size();
  KJ_REQUIRE(result.get<WrittenCheckpoint>().bytes == bytes);
  return files;
}

FileBytes write(std::initializer_list<const Trie*> tries) {
  kj::Vector<kj::Own<const Trie>> list;
  for (auto trie : tries) list.add(kj::atomicAddRef(*trie));
  return write(list);
}

// Names, for a failed comparison, the files that differ.
void expectSame(const FileBytes& actual, const FileBytes& expected) {
  for (auto& [name, bytes] : expected) {
    auto found = actual.find(name);
    EXPECT_TRUE(found != actual.end() && found->second == bytes) << name << " is not as expected";
  }
  EXPECT_EQ(actual.size(), expected.size());
}

std::string lastBytes(const std::string& text, size_t count) {
  return text.substr(text.size() - count);
}

TEST(CheckpointWriter, WritesTheEmptyTrie) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  expectSame(write({empty.get()}), filesOf(CheckpointParts(), NAME));
}

TEST(CheckpointWriter, WritesTheWorkedExampleToTheByte) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  auto trie = update(*empty, {lettered(0x00, 'A', 'a'), lettered(0x01, 'B', 'b')});
  auto files = write({trie.get()});
  expectSame(files, filesOf(testing::workedExample(), NAME));
  EXPECT_EQ(files.at(NAME.cStr()), fromHex("213700060010ed9c005f80bda53780bda53780bda53780bda53780"
                                           "bda53780bda53780bda53780bda53780bda53780bda53780bda537"
                                           "80bda53780bda53780bda53780bda5370b1d79d9552d06df"));
}

// Nodes shared by tries, a trie twice, and parts that hold one leaf. The checksums are flow-go's.
TEST(CheckpointWriter, WritesSharedNodesOnce) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  auto first = update(*empty, {lettered(0x00, 'A', 'a'), lettered(0x01, 'B', 'b')});
  auto second = update(*first, {lettered(0x80, 'C', 'c'), lettered(0x90, 'D', 'd')});
  // The same nodes, whether the trie is the same object or not.
  auto again = update(*second, {lettered(0x80, 'C', 'c')});
  ASSERT_TRUE(again->root() == second->root());
  for (auto last : {second.get(), again.get()}) {
    auto files = write({empty.get(), first.get(), second.get(), last});
    EXPECT_EQ(lastBytes(files.at("checkpoint.00000007.000"), 4), fromHex("ed9c005f"));
    EXPECT_EQ(lastBytes(files.at("checkpoint.00000007.008"), 4), fromHex("4984fa60"));
    EXPECT_EQ(lastBytes(files.at("checkpoint.00000007.009"), 4), fromHex("80c31228"));
    EXPECT_EQ(lastBytes(files.at("checkpoint.00000007.016"), 4), fromHex("a45b424c"));
    EXPECT_EQ(lastBytes(files.at("checkpoint.00000007"), 4), fromHex("a67cc4b3"));
  }
}

// Nodes that look the same are not the same: flow-go stores them twice.
TEST(CheckpointWriter, WritesEqualNodesThatAreNotSharedTwice) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  auto one = update(*empty, {lettered(0x00, 'A', 'a'), lettered(0x01, 'B', 'b')});
  auto other = update(*empty, {lettered(0x00, 'A', 'a'), lettered(0x01, 'B', 'b')});
  auto files = write({one.get(), other.get()});
  EXPECT_EQ(lastBytes(files.at("checkpoint.00000007.000"), 12).substr(0, 8),
            testing::bigEndian(12, 8));
  EXPECT_EQ(lastBytes(files.at("checkpoint.00000007.016"), 14).substr(0, 10),
            testing::bigEndian(8, 8) + testing::bigEndian(2, 2));
}

// flow-go writes a wrong length for a key of zero bytes, so none is ever written.
TEST(CheckpointWriter, WritesAnEmptyKeyAsAKeyWithoutParts) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  auto bare = update(*empty, {{pathFrom(0x20), "", "v"}, {pathFrom(0x30), "", "w"}});
  auto zeros = update(*empty, {{pathFrom(0x20), std::string(2, '\0'), "v"},
                               {pathFrom(0x30), std::string(2, '\0'), "w"}});
  auto files = write({bare.get()});
  auto expected = write({zeros.get()});
  EXPECT_EQ(files.at("checkpoint.00000007.002"), expected.at("checkpoint.00000007.002"));
  EXPECT_EQ(files.at("checkpoint.00000007.003"), expected.at("checkpoint.00000007.003"));
}

// A leaf that was read without a payload object, and one with an empty value, are told apart. Also
// compact leaves in the top part, down to a root that is one.
TEST(CheckpointWriter, WritesBackWhatItReads) {
  std::string hash(32, '\x11'), root(32, '\x22');
  std::string low(32, '\0'), high(32, '\xff');
  auto payload = fromHex("0000000900010000000300004100000000");
  CheckpointParts parts;
  parts.bytes[CHECKPOINT_TOP_PART] = testing::topPart(
      0,
      {testing::leafRecord(255, hash, low, ""), testing::leafRecord(255, hash, high, payload),
       testing::interiorRecord(256, root, 1, 2), testing::leafRecord(256, hash, high, payload)},
      {testing::trieRecord(4, 0, 9, hash), testing::trieRecord(3, 1, 2, root)});
  auto files = filesOf(parts, NAME);
  // Tries in another order than the nodes, so written anew they are numbered anew.
  parts.bytes[CHECKPOINT_TOP_PART] = testing::topPart(
      0,
      {testing::leafRecord(256, hash, high, payload), testing::leafRecord(255, hash, low, ""),
       testing::leafRecord(255, hash, high, payload), testing::interiorRecord(256, root, 2, 3)},
      {testing::trieRecord(1, 0, 9, hash), testing::trieRecord(4, 1, 2, root)});
  auto store = newStore();
  CheckpointLoader loader(kj::atomicAddRef(*store));
  readCheckpoint(*asDirectory(files), NAME, loader);
  auto tries = loader.takeTries();
  expectSame(write(tries), filesOf(parts, NAME));
}

// A leaf that a neighbour pushed down stands in the file with its payload again. It is one record
// in the store, as it was before, and another value or another register is not it.
TEST(CheckpointLoader, StoresARepeatedPayloadOnce) {
  auto before = newStore();
  kj::Vector<kj::Own<const Trie>> tries;
  tries.add(Trie::empty(kj::atomicAddRef(*before)));
  std::mt19937 random(3);
  std::vector<Path> paths;
  // More leaves than wait for their records at a time.
  for (unsigned round = 0; round < 12; ++round) {
    std::vector<Write> writes;
    for (unsigned i = 0; i < 200; ++i) {
      Path path;
      for (auto& byte : path.bytes) byte = random();
      path.bytes[0] = 0x30;
      if (i % 4 == 0 && !paths.empty()) path = paths[random() % paths.size()];
      paths.push_back(path);
      writes.push_back({path, "", std::string(1 + random() % 5, 'a' + round)});
    }
    tries.add(update(*tries.back(), writes));
  }
  auto files = write(tries);
  auto after = newStore();
  {
    CheckpointLoader loader(kj::atomicAddRef(*after));
    readCheckpoint(*asDirectory(files), NAME, loader);
    auto loaded = loader.takeTries();
    ASSERT_EQ(loaded.size(), tries.size());
    EXPECT_EQ(after->liveLeaves(), before->liveLeaves());
    ASSERT_GT(before->liveLeaves(), before->payloads.live() + 500) << "the test meant some to share";
    // A few may have been pushed out of the loader's memory by others that begin alike.
    EXPECT_LT(after->payloads.live(), before->payloads.live() * 11 / 10);
    EXPECT_GE(after->payloads.live(), before->payloads.live());
    for (size_t i = 0; i < tries.size(); ++i) {
      for (const auto& path : paths) EXPECT_TRUE(loaded[i]->read(path) == tries[i]->read(path));
    }
    expectSame(write(loaded), files);
  }
  EXPECT_EQ(after->payloads.live(), 0u);
  EXPECT_EQ(after->nodes.live(), 0u);
}

// Random histories: forks, deletions, re-allocations, repeated values, dense paths, tries that are
// gone and tries that are left out. Catches a node taken for new, or for written, by its references
// alone: the other way of writing looks every node up.
TEST(CheckpointWriter, AgreesWithTheSimplestWayOnRandomHistories) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    auto pick = [&](unsigned bound) { return unsigned(random() % bound); };
    auto store = newStore();
    std::vector<kj::Own<const Trie>> tries;
    tries.push_back(Trie::empty(kj::atomicAddRef(*store)));
    for (unsigned round = 0; round < 40; ++round) {
      std::vector<Write> writes;
      for (unsigned i = 1 + pick(12); i-- > 0;) {
        Path path = pathFrom(pick(4) == 0 ? pick(256) : pick(3), pick(6));
        writes.push_back({path, "key", pick(3) == 0 ? "" : std::string(1 + pick(3), 'v')});
      }
      tries.push_back(update(*tries[pick(tries.size())], writes));
      if (pick(4) == 0) tries.erase(tries.begin() + pick(tries.size()));
    }
    kj::Vector<kj::Own<const Trie>> chosen;
    for (unsigned i = 0; i < 12; ++i) chosen.add(kj::atomicAddRef(*tries[pick(tries.size())]));
    auto expected = filesOf(simpleCheckpoint(chosen), NAME);
    for (unsigned threads : {1, 4}) {
      CheckpointWriteOptions options;
      options.threads = threads;
      expectSame(write(chosen, kj::mv(options)), expected);
    }
  }
}

// More than a buffer in one payload, and more nodes than the first tables hold.
TEST(CheckpointWriter, WritesLargePayloadsAndManyNodes) {
  auto store = newStore();
  kj::Vector<kj::Own<const Trie>> tries;
  tries.add(Trie::empty(kj::atomicAddRef(*store)));
  std::mt19937 random(7);
  for (unsigned round = 0; round < 4; ++round) {
    std::vector<Write> writes;
    for (unsigned i = 0; i < 2000; ++i) {
      Path path;
      for (auto& byte : path.bytes) byte = random();
      writes.push_back({path, "key", std::string(1 + i % 50, 'v')});
    }
    writes.push_back({pathFrom(0x55, round), "key", std::string((3 << 20) + 1, 'x')});
    writes.push_back({pathFrom(0x55, 100 + round), "key", std::string((1 << 20) - 1, 'y')});
    tries.add(update(*tries.back(), writes));
  }
  std::vector<uint64_t> reported;
  CheckpointWriteOptions options;
  options.threads = 3;
  options.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_LE(done, total);
    reported.push_back(done);
    if (done == total) reported.push_back(total);
  };
  auto files = write(tries, kj::mv(options));
  expectSame(files, filesOf(simpleCheckpoint(tries), NAME));
  EXPECT_TRUE(std::is_sorted(reported.begin(), reported.end()));
  uint64_t bytes = 0;
  for (auto& [name, content] : files) bytes += content.size();
  ASSERT_GE(reported.size(), 2u);
  EXPECT_EQ(reported.back(), bytes);
  // No payload is shared here but by what leaves were pushed down.
  EXPECT_GT(estimateCheckpointSize(*store), bytes * 9 / 10);
  EXPECT_LT(estimateCheckpointSize(*store), bytes * 3 / 2);
}

TEST(CheckpointWriter, TakesOneTrieToAsManyAsTheFormatCounts) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  kj::Vector<kj::Own<const Trie>> tries;
  for (uint64_t i = 0; i <= CHECKPOINT_MAX_TRIES; ++i) tries.add(kj::atomicAddRef(*empty));
  SimulatedDisk disk;
  for (auto count : {uint64_t(0), CHECKPOINT_MAX_TRIES + 1}) {
    auto result = writeCheckpoint(*disk.directory(), NAME, tries.slice(0, count));
    ASSERT_TRUE(result.is<Error>());
    EXPECT_EQ(result.get<Error>().code, Code::INVALID_ARGUMENT);
    EXPECT_EQ(disk.stepsTaken(), 0);
  }
  auto files = write(tries.slice(0, CHECKPOINT_MAX_TRIES));
  EXPECT_EQ(files.at("checkpoint.00000007.016").size(), 26 + CHECKPOINT_MAX_TRIES * 56);
}

// The tables of a checkpoint count against the memory limit, and only while it is written.
TEST(CheckpointWriter, KeepsToTheMemoryLimit) {
  auto budget = shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 24);
  auto store = kj::atomicRefcounted<Store>(
      *budget, SegmentSizes{uint64_t(64) << 10, uint64_t(1) << 20, uint64_t(64) << 10});
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  std::vector<Write> writes;
  for (unsigned i = 0; i < 256; ++i) {
    Path path = pathFrom(0x70);
    path.bytes[1] = i;
    writes.push_back({path, "key", "value"});
  }
  kj::Vector<kj::Own<const Trie>> tries;
  tries.add(update(*empty, writes));
  // Each of them shares all registers but one.
  for (auto& write : writes) tries.add(update(*tries[0], {{write.path, "key", "other"}}));

  auto used = budget->used();
  auto rest = budget->reserve(budget->limit() - used - 4096);
  ASSERT_TRUE(rest.is<shm::Reservation>());
  SimulatedDisk disk;
  auto failure =
      kj::runCatchingExceptions([&]() { writeCheckpoint(*disk.directory(), NAME, tries); });
  KJ_IF_MAYBE (exception, failure) {
    EXPECT_EQ(exception->getType(), kj::Exception::Type::OVERLOADED);
  } else {
    ADD_FAILURE() << "no exception";
  }
  EXPECT_TRUE(disk.now().empty());
  EXPECT_EQ(budget->used(), budget->limit() - 4096);
  rest = shm::Reservation();
  expectSame(write(tries), filesOf(simpleCheckpoint(tries), NAME));
  EXPECT_EQ(budget->used(), used);
}

// flow-go deletes the older checkpoint in this case.
TEST(CheckpointWriter, LeavesAnyFileOfThatNameAlone) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  std::vector<std::string> names = {NAME.cStr()};
  for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
    names.push_back(checkpointPartName(NAME, i).cStr());
  }
  for (auto& name : names) {
    SCOPED_TRACE(name);
    FileBytes before = {{name, "older"}, {"00000007", "log"}};
    SimulatedDisk disk(before);
    auto result = writeCheckpoint(*disk.directory(), NAME, kj::arrayPtr(&empty, 1));
    ASSERT_TRUE(result.is<Error>());
    EXPECT_EQ(result.get<Error>().code, Code::FAILED_PRECONDITION);
    EXPECT_EQ(disk.stepsTaken(), 0);
    EXPECT_TRUE(disk.now() == before);
  }
}

class DiskFolder {
public:
  DiskFolder() {
    char name[] = "/tmp/checkpoint-writer-XXXXXX";
    KJ_ASSERT(mkdtemp(name) != nullptr);
    path = name;
    auto filesystem = kj::newDiskFilesystem();
    directory =
        filesystem->getRoot().openSubdir(kj::Path::parse(path.c_str() + 1), kj::WriteMode::MODIFY);
  }
  ~DiskFolder() {
    auto filesystem = kj::newDiskFilesystem();
    filesystem->getRoot().tryRemove(kj::Path::parse(path.c_str() + 1));
  }
  KJ_DISALLOW_COPY(DiskFolder);

  std::string path;
  kj::Own<const kj::Directory> directory;
};

TEST(CheckpointWriter, WritesFilesForTheOwnerOnlyOnARealDisk) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  auto trie = update(*empty, {lettered(0x00, 'A', 'a'), lettered(0x01, 'B', 'b')});
  DiskFolder folder;
  auto result = writeCheckpoint(*folder.directory, NAME, kj::arrayPtr(&trie, 1));
  ASSERT_TRUE(result.is<WrittenCheckpoint>());
  EXPECT_EQ(result.get<WrittenCheckpoint>().nodes, 10u);
  auto expected = filesOf(testing::workedExample(), NAME);
  EXPECT_EQ(folder.directory->listNames().size(), expected.size());
  for (auto& [name, bytes] : expected) {
    EXPECT_TRUE(folder.directory->openFile(kj::Path(name.c_str()))->readAllBytes() ==
                bytesOf(bytes));
    struct stat status;
    ASSERT_EQ(stat((folder.path + "/" + name).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u);
  }
}

// A link that leads nowhere is a file, too.
TEST(CheckpointWriter, LeavesALinkOfThatNameAlone) {
  auto store = newStore();
  auto empty = Trie::empty(kj::atomicAddRef(*store));
  DiskFolder folder;
  folder.directory->symlink(kj::Path(ROOT_CHECKPOINT_NAME), "nowhere", kj::WriteMode::CREATE);
  auto result = writeCheckpoint(*folder.directory, ROOT_CHECKPOINT_NAME, kj::arrayPtr(&empty, 1));
  ASSERT_TRUE(result.is<Error>());
  EXPECT_EQ(folder.directory->listNames().size(), 1u);
}

// Tries that share nodes with those being written come and go all the while. Catches an unsafe look
// at references: the bytes must not change.
TEST(CheckpointWriter, WritesTheSameBytesWhileOthersUpdate) {
  auto store = newStore();
  std::mt19937 random(3);
  kj::Vector<kj::Own<const Trie>> tries;
  tries.add(Trie::empty(kj::atomicAddRef(*store)));
  auto someWrites = [](std::mt19937& random) {
    std::vector<Write> writes;
    for (unsigned i = 0; i < 60; ++i) {
      writes.push_back({pathFrom(random(), random() % 4), "key", std::string(1, 'a' + i % 3)});
    }
    return writes;
  };
  for (unsigned i = 0; i < 8; ++i) tries.add(update(*tries.back(), someWrites(random)));
  auto expected = filesOf(simpleCheckpoint(tries), NAME);
  std::atomic<bool> done = false;
  {
    kj::Thread updates([&]() {
      std::mt19937 random(4);
      for (unsigned i = 0; !done; ++i) update(*tries[i % tries.size()], someWrites(random));
    });
    for (unsigned i = 0; i < 10; ++i) {
      CheckpointWriteOptions options;
      options.threads = 3;
      expectSame(write(tries, kj::mv(options)), expected);
    }
    done = true;
  }
}

}  // namespace
}  // namespace ledger
