// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/reader.h"

#include "ledger/checkpoint/checkpoint-testing.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <cstdlib>
#include <thread>

#include <unistd.h>

namespace ledger {
namespace {

using testing::bigEndian;
using testing::CheckpointParts;
using testing::fromHex;
using testing::interiorRecord;
using testing::KeepingSink;
using testing::leafRecord;
using testing::subtriePart;
using testing::topPart;
using testing::trieRecord;
using testing::workedExample;

constexpr kj::StringPtr NAME = "checkpoint.00000007"_kj;

kj::Own<const kj::Directory> newDirectory() {
  return kj::newInMemoryDirectory(kj::nullClock());
}

std::string readFile(const kj::ReadableDirectory& directory, kj::StringPtr name) {
  auto bytes = directory.openFile(kj::Path(name))->readAllBytes();
  return std::string(bytes.asChars().begin(), bytes.size());
}

void writeFile(const kj::Directory& directory, kj::StringPtr name, const std::string& bytes) {
  auto file = directory.openFile(kj::Path(name), kj::WriteMode::CREATE | kj::WriteMode::MODIFY);
  file->truncate(0);
  file->write(0, kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
}

std::vector<std::string> filesOf(kj::StringPtr name) {
  std::vector<std::string> files{name.cStr()};
  for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
    files.push_back(checkpointPartName(name, i).cStr());
  }
  return files;
}

// "" if it reads.
std::string failureOf(const kj::ReadableDirectory& directory, kj::StringPtr name = NAME,
                      unsigned threads = 1) {
  KeepingSink sink;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 readCheckpoint(directory, name, sink, {.threads = threads});
               })) {
    return exception->getDescription().cStr();
  }
  EXPECT_TRUE(sink.complete());
  return "";
}

std::string failureOf(const CheckpointParts& parts) {
  auto directory = newDirectory();
  parts.store(*directory, NAME);
  return failureOf(*directory);
}

#define EXPECT_SAYS(message, part)                                     \
  do {                                                                 \
    std::string said = message;                                        \
    EXPECT_NE(said.find(part), std::string::npos) << "said: " << said; \
  } while (false)

// Beside a Set that is in progress it waits after each read: in vain here, and goes on.
TEST(CheckpointReader, GivesWayToSets) {
  using Clock = std::chrono::steady_clock;
  constexpr auto PIECE = std::chrono::milliseconds(10);
  auto directory = newDirectory();
  workedExample().store(*directory, NAME);
  SetsInProgress sets;
  SetsInProgress::One endless(sets);
  KeepingSink sink;
  Clock::time_point pieceEnd;
  Clock::duration pause{};
  int reads = 0;
  CheckpointReadOptions options{.threads = 1, .sets = sets};
  options.progress = [&](uint64_t, uint64_t) {
    ++reads;
    if (reads == 1) {
      std::this_thread::sleep_for(PIECE);
      pieceEnd = Clock::now();
    } else if (reads == 2) {
      pause = Clock::now() - pieceEnd;
    }
  };
  readCheckpoint(*directory, NAME, sink, kj::mv(options));
  EXPECT_TRUE(sink.complete());
  EXPECT_GT(reads, 2);
  EXPECT_GE(pause, GiveWay::PATIENCE * PIECE);
}

// The worked example's checksums are flow-go's: catches an error of this test's own files.
TEST(CheckpointReader, ReadsTheWorkedExample) {
  auto directory = newDirectory();
  workedExample().store(*directory, NAME);
  auto header = readFile(*directory, NAME);
  std::string expected = fromHex("213700060010ed9c005f");
  for (int i = 0; i < 15; ++i) expected += fromHex("80bda537");
  EXPECT_EQ(header, expected + fromHex("0b1d79d9552d06df"));

  for (unsigned threads : {1u, 2u, 16u}) {
    KeepingSink sink;
    uint64_t last = 0, total = 0;
    readCheckpoint(*directory, NAME, sink,
                   {.threads = threads, .progress = [&](uint64_t d, uint64_t t) {
                      EXPECT_GE(d, last);
                      last = d;
                      total = t;
                    }});
    EXPECT_TRUE(sink.complete());
    EXPECT_EQ(last, 78u + 398 + 15 * 16 + 286);
    EXPECT_EQ(last, total);
    ASSERT_EQ(sink.parts[0].size(), 6u);
    EXPECT_EQ(sink.parts[0][1].key, fromHex("000100000003000042"));
    EXPECT_EQ(sink.parts[0][1].value, "b");
    EXPECT_EQ(sink.parts[0][1].path.bytes[0], 1);
    EXPECT_TRUE((sink.parts[0][2].left == ChildRef{0, 1}));
    EXPECT_TRUE((sink.parts[0][2].right == ChildRef{0, 2}));
    EXPECT_TRUE((sink.parts[16][0].left == ChildRef{0, 6}));
    EXPECT_TRUE((sink.parts[16][1].left == ChildRef{16, 1}));
    EXPECT_TRUE(sink.parts[16][1].right.isNil());
    ASSERT_EQ(sink.tries.size(), 1u);
    EXPECT_TRUE((sink.tries[0].root == ChildRef{16, 4}));
    EXPECT_EQ(sink.tries[0].registerCount, 2u);
    EXPECT_EQ(sink.tries[0].registerSize, 20u);
  }
}

TEST(CheckpointReader, ReadsTheEmptyTrie) {
  auto directory = newDirectory();
  CheckpointParts().store(*directory, NAME);
  EXPECT_EQ(readFile(*directory, kj::str(NAME, ".016")).substr(78), fromHex("c09a455a"));
  KeepingSink sink;
  readCheckpoint(*directory, NAME, sink);
  ASSERT_EQ(sink.tries.size(), 1u);
  EXPECT_TRUE(sink.tries[0].root.isNil());
}

// Catches every byte that no checksum covers, and every crash on the way to it.
TEST(CheckpointReader, SeesEveryFlippedBitOfEveryFile) {
  auto directory = newDirectory();
  workedExample().store(*directory, NAME);
  for (auto& name : filesOf(NAME)) {
    auto good = readFile(*directory, name.c_str());
    for (size_t at = 0; at < good.size(); ++at) {
      for (unsigned bit = 0; bit < 8; ++bit) {
        auto bad = good;
        bad[at] ^= static_cast<char>(1 << bit);
        writeFile(*directory, name.c_str(), bad);
        auto message = failureOf(*directory);
        ASSERT_NE(message, "") << name << " at " << at << " bit " << bit;
      }
    }
    writeFile(*directory, name.c_str(), good);
  }
  EXPECT_EQ(failureOf(*directory), "");
}

TEST(CheckpointReader, SeesEveryOtherLengthOfEveryFile) {
  auto directory = newDirectory();
  workedExample().store(*directory, NAME);
  for (auto& name : filesOf(NAME)) {
    auto good = readFile(*directory, name.c_str());
    for (size_t size = 0; size < good.size(); ++size) {
      writeFile(*directory, name.c_str(), good.substr(0, size));
      ASSERT_NE(failureOf(*directory), "") << name << " cut to " << size;
    }
    for (size_t more : {1, 4, 56, 71}) {
      writeFile(*directory, name.c_str(), good + std::string(more, '\0'));
      ASSERT_NE(failureOf(*directory), "") << name << " with " << more << " more";
    }
    directory->remove(kj::Path(name.c_str()));
    auto message = failureOf(*directory);
    EXPECT_SAYS(message, "missing");
    EXPECT_SAYS(message, name);
    writeFile(*directory, name.c_str(), good);
  }
}

TEST(CheckpointReader, SaysWhichVersionItCannotRead) {
  auto directory = newDirectory();
  for (unsigned version : {1, 3, 4, 5}) {
    writeFile(*directory, NAME, fromHex("2137") + bigEndian(version, 2) + std::string(500, '\0'));
    EXPECT_SAYS(failureOf(*directory), "convert it with flow-go");
    EXPECT_SAYS(failureOf(*directory), kj::str("version = ", version).cStr());
  }
  writeFile(*directory, NAME, fromHex("21370007") + std::string(74, '\0'));
  EXPECT_SAYS(failureOf(*directory), "wrong version");
}

// Files with checksums that fit and contents that do not: made by a bug or by an attacker.
struct Hostile {
  const char* what;
  const char* says;
  std::function<void(CheckpointParts&)> change;
};

std::string someHash() {
  return std::string(32, 'h');
}
std::string somePath(unsigned char first = 0) {
  return std::string(1, static_cast<char>(first)) + std::string(31, 'p');
}
std::string somePayload() {
  return fromHex("0000000200000000000161");
}

const Hostile HOSTILE[] = {
    {"a node type of 2", "failed to decode node type", [](auto& parts) { parts.bytes[0][4] = 2; }},
    {"a subtrie's node above height 252", "height does not belong",
     [](auto& p) { p.bytes[3] = subtriePart({leafRecord(253, someHash(), somePath(0x30), "")}); }},
    {"a top node below height 253", "height does not belong",
     [](auto& p) {
       p.bytes[16] = topPart(6, {leafRecord(252, someHash(), somePath(), "")},
                             {trieRecord(7, 1, 1, someHash())});
     }},
    {"a node above height 256", "height does not belong",
     [](auto& p) {
       p.bytes[16] = topPart(6, {leafRecord(257, someHash(), somePath(), "")},
                             {trieRecord(7, 1, 1, someHash())});
     }},
    {"an interior node at height 0", "height 0",
     [](auto& p) { p.bytes[3] = subtriePart({interiorRecord(0, someHash(), 0, 0)}); }},
    {"a node that is its own child", "Descendents-First",
     [](auto& p) { p.bytes[3] = subtriePart({interiorRecord(9, someHash(), 1, 0)}); }},
    {"a child far behind", "Descendents-First",
     [](auto& p) { p.bytes[3] = subtriePart({interiorRecord(9, someHash(), 0, ~uint64_t(0))}); }},
    {"a child at its parent's height", "one level below",
     [](auto& p) {
       p.bytes[3] = subtriePart(
           {leafRecord(9, someHash(), somePath(0x30), ""), interiorRecord(9, someHash(), 1, 0)});
     }},
    {"a child two levels below", "one level below",
     [](auto& p) {
       p.bytes[3] = subtriePart(
           {leafRecord(7, someHash(), somePath(0x30), ""), interiorRecord(9, someHash(), 0, 1)});
     }},
    {"a leaf of another part", "path does not belong",
     [](auto& p) { p.bytes[3] = subtriePart({leafRecord(9, someHash(), somePath(0x40), "")}); }},
    {"a top node's child in the middle of a part", "one level below",
     [](auto& p) {
       p.bytes[16] =
           topPart(6, {interiorRecord(253, someHash(), 5, 0)}, {trieRecord(7, 1, 1, someHash())});
     }},
    {"a subtrie right below height 254", "one level below",
     [](auto& p) {
       p.bytes[16] =
           topPart(6, {interiorRecord(254, someHash(), 6, 0)}, {trieRecord(7, 1, 1, someHash())});
     }},
    {"a top node that is its own child", "Descendents-First",
     [](auto& p) {
       p.bytes[16] =
           topPart(6, {interiorRecord(254, someHash(), 7, 0)}, {trieRecord(7, 1, 1, someHash())});
     }},
    {"a top child far behind", "Descendents-First",
     [](auto& p) {
       p.bytes[16] = topPart(6, {interiorRecord(254, someHash(), ~uint64_t(0), 0)},
                             {trieRecord(7, 1, 1, someHash())});
     }},
    {"a root in a subtrie", "can not find node by index",
     [](auto& p) { p.bytes[16] = topPart(6, {}, {trieRecord(6, 1, 1, someHash())}); }},
    {"a root that is not there", "can not find node by index",
     [](auto& p) { p.bytes[16] = topPart(6, {}, {trieRecord(7, 1, 1, someHash())}); }},
    {"a root far behind", "can not find node by index",
     [](auto& p) { p.bytes[16] = topPart(6, {}, {trieRecord(~uint64_t(0), 1, 1, someHash())}); }},
    {"a root at height 255", "height 256",
     [](auto& p) {
       p.bytes[16] = topPart(6, {leafRecord(255, someHash(), somePath(), "")},
                             {trieRecord(7, 1, 1, someHash())});
     }},
    {"another root hash", "roothash doesn't match",
     [](auto& p) {
       p.bytes[16] = topPart(6, {leafRecord(256, someHash(), somePath(), "")},
                             {trieRecord(7, 1, 1, std::string(32, 'x'))});
     }},
    {"an empty trie with another root hash", "roothash doesn't match",
     [](auto& p) { p.bytes[16] = topPart(6, {}, {trieRecord(0, 0, 0, someHash())}); }},
    {"no tries", "without tries", [](auto& p) { p.bytes[16] = topPart(6, {}, {}); }},
    {"another total of nodes", "mismatch subtrie node count",
     [](auto& p) { p.bytes[16] = topPart(7, {}, {trieRecord(0, 0, 0, someHash())}); }},
    {"2^64 - 1 nodes in a part", "too short for what its end says",
     [](auto& p) { p.bytes[3] = fromHex("21360006") + bigEndian(~uint64_t(0), 8); }},
    {"one node more than there is", "too short for what its end says",
     [](auto& p) { p.bytes[3] = fromHex("21360006") + bigEndian(1, 8); }},
    {"2^61 nodes in the top part", "too short for what its end says",
     [](auto& p) {
       auto& top = p.bytes[16];
       top = top.substr(0, top.size() - 10) + bigEndian(uint64_t(1) << 61, 8) + bigEndian(1, 2);
     }},
    {"65,535 tries", "too short for what its end says",
     [](auto& p) {
       auto& top = p.bytes[16];
       top = top.substr(0, top.size() - 2) + bigEndian(65535, 2);
     }},
    {"fewer nodes than the bytes hold", "end before its end",
     [](auto& p) {
       auto& part = p.bytes[0];
       part = part.substr(0, part.size() - 8) + bigEndian(5, 8);
     }},
    {"a top part's magic in a subtrie", "wrong magic", [](auto& p) { p.bytes[5][1] = 0x35; }},
    {"version 5 in a subtrie", "wrong version", [](auto& p) { p.bytes[5][3] = 5; }},
    {"a payload that goes beyond the file", "ends too early",
     [](auto& p) {
       auto leaf = leafRecord(9, someHash(), somePath(0x30), somePayload());
       leaf.replace(67, 4, bigEndian(0xffffffff, 4));
       p.bytes[3] = subtriePart({leaf});
     }},
    {"a payload of seven bytes", "too short for its two lengths",
     [](auto& p) {
       p.bytes[3] = subtriePart({leafRecord(9, someHash(), somePath(0x30), std::string(7, '\0'))});
     }},
    {"a key longer than its payload", "key is longer",
     [](auto& p) {
       p.bytes[3] =
           subtriePart({leafRecord(9, someHash(), somePath(0x30), fromHex("fffffffc00000000"))});
     }},
    {"a value longer than its payload", "do not fill",
     [](auto& p) {
       p.bytes[3] = subtriePart(
           {leafRecord(9, someHash(), somePath(0x30), fromHex("000000020000ffffffff61"))});
     }},
    {"a value shorter than its payload", "do not fill",
     [](auto& p) {
       p.bytes[3] = subtriePart(
           {leafRecord(9, someHash(), somePath(0x30), fromHex("000000020000000000016161"))});
     }},
    {"flow-go's leaf with a key of zero bytes", "two bytes too large",
     [](auto& p) {
       auto leaf = leafRecord(9, someHash(), somePath(0x30), fromHex("000000000000000161"));
       leaf.replace(67, 4, bigEndian(11, 4));  // What flow-go declares.
       p.bytes[3] = subtriePart({leaf, leafRecord(9, someHash(), somePath(0x30), "")});
     }},
};

TEST(CheckpointReader, RefusesContradictionsWithGoodChecksums) {
  for (auto& hostile : HOSTILE) {
    SCOPED_TRACE(hostile.what);
    auto parts = workedExample();
    hostile.change(parts);
    // The top part refers to part 0 only; a total that fits, so that the fault is the one meant.
    if (parts.bytes[3] != subtriePart({})) {
      auto& top = parts.bytes[16];
      uint64_t more = static_cast<unsigned char>(parts.bytes[3].back());
      top = top.substr(0, 4) + bigEndian(6 + more, 8) + top.substr(12);
    }
    auto message = failureOf(parts);
    EXPECT_SAYS(message, hostile.says);
    EXPECT_SAYS(message, "checkpoint.00000007");
  }
}

// No payload object, an empty value, an empty key: three different things.
TEST(CheckpointReader, TellsPayloadsApart) {
  auto parts = workedExample();
  parts.bytes[0] = subtriePart({
      leafRecord(252, someHash(), somePath(), ""),
      leafRecord(252, someHash(), somePath(), fromHex("00000002000000000000")),
      leafRecord(252, someHash(), somePath(), fromHex("000000000000000161")),
  });
  parts.bytes[16] = topPart(3, {leafRecord(256, someHash(), somePath(0xff), somePayload())},
                            {trieRecord(4, 1, 2, someHash()), trieRecord(4, 1, 2, someHash())});
  auto directory = newDirectory();
  parts.store(*directory, NAME);
  KeepingSink sink;
  readCheckpoint(*directory, NAME, sink);
  EXPECT_FALSE(sink.parts[0][0].hasPayload);
  EXPECT_TRUE(sink.parts[0][1].hasPayload);
  EXPECT_EQ(sink.parts[0][1].key, std::string(2, '\0'));
  EXPECT_EQ(sink.parts[0][1].value, "");
  EXPECT_EQ(sink.parts[0][2].key, "");
  EXPECT_EQ(sink.parts[0][2].value, "a");
  EXPECT_EQ(sink.parts[16][0].value, "a");
  EXPECT_EQ(sink.tries.size(), 2u);
}

// Catches faults where a record crosses the end of the read buffer, or is larger than it.
TEST(CheckpointReader, ReadsPayloadsOfEverySizeAroundTheBuffer) {
  std::vector<std::string> nodes;
  std::vector<size_t> sizes;
  for (size_t size : {3u << 20, 1u, (1u << 20) - 200, 1u << 20, (1u << 20) + 1, 100u, 700000u,
                      700000u, 700001u, 5u << 20, 0u}) {
    std::string value(size, static_cast<char>('a' + nodes.size()));
    nodes.push_back(leafRecord(252, someHash(), somePath(0x50),
                               fromHex("000000020000") + bigEndian(size, 4) + value));
    sizes.push_back(size);
  }
  CheckpointParts parts;
  parts.bytes[5] = subtriePart(nodes);
  parts.bytes[16].replace(4, 8, bigEndian(nodes.size(), 8));
  auto directory = newDirectory();
  parts.store(*directory, NAME);
  KeepingSink sink;
  readCheckpoint(*directory, NAME, sink);
  ASSERT_EQ(sink.parts[5].size(), sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    EXPECT_TRUE(sink.parts[5][i].value == std::string(sizes[i], static_cast<char>('a' + i))) << i;
  }
}

// An exception of the sink comes out, whichever thread it was thrown on.
TEST(CheckpointReader, PassesOnWhatTheSinkThrows) {
  struct Refusing final : public CheckpointSink {
    void begin(kj::ArrayPtr<const uint64_t>, uint64_t) override {}
    void leaf(unsigned, uint64_t, unsigned, const Hash&, const Path&, kj::Maybe<Payload>) override {
      KJ_FAIL_REQUIRE("no room");
    }
    void interior(unsigned, uint64_t, unsigned, const Hash&, ChildRef, ChildRef) override {}
    void trie(ChildRef, uint64_t, uint64_t, const RootHash&) override {}
  };
  auto directory = newDirectory();
  workedExample().store(*directory, NAME);
  for (unsigned threads : {1u, 4u, 16u}) {
    Refusing sink;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                   readCheckpoint(*directory, NAME, sink, {.threads = threads});
                 })) {
      EXPECT_SAYS(exception->getDescription().cStr(), "no room");
    } else {
      ADD_FAILURE() << "nothing thrown";
    }
  }
}

TEST(CheckpointNames, ListsHeadersByNumber) {
  auto directory = newDirectory();
  for (auto name :
       {"checkpoint.00000010", "checkpoint.00000002", "checkpoint.00000002.000",
        "checkpoint.123456789", "checkpoint.7", "checkpoint.tmp", "checkpoint.",
        "checkpoint.0000000x", "checkpoint.000000011", "root.checkpoint.000", "00000003",
        "writing-checkpoint.00000005-77", "checkpoint.99999999999999999999"}) {
    writeFile(*directory, name, "");
  }
  auto numbers = listCheckpoints(*directory);
  EXPECT_EQ(std::vector<uint64_t>(numbers.begin(), numbers.end()),
            (std::vector<uint64_t>{2, 10, 123456789}));
  EXPECT_FALSE(hasRootCheckpoint(*directory));
  writeFile(*directory, ROOT_CHECKPOINT_NAME, "");
  EXPECT_TRUE(hasRootCheckpoint(*directory));
}

// A name that no ledger looks for, given to a checkpoint that is meant to be found.
TEST(CheckpointReader, KnowsTheNamesThatLedgersLookFor) {
  for (auto name : {"root.checkpoint", "checkpoint.00000000", "checkpoint.123456789"}) {
    EXPECT_TRUE(isCheckpointName(name)) << name;
  }
  for (auto name : {"", "checkpoint", "checkpoint.", "checkpoint.7", "checkpoint.000000007",
                    "checkpoint.0000000x", "checkpoint.00000007.000", "root.checkpoint.000",
                    "xcheckpoint.00000007", "checkpoint.99999999999999999999"}) {
    EXPECT_FALSE(isCheckpointName(name)) << name;
  }
}

// An execution node links its root checkpoint into the ledger's directory.
TEST(CheckpointReader, FollowsSymbolicLinks) {
  char path[] = "/tmp/ledger-checkpoint-XXXXXX";
  KJ_ASSERT(mkdtemp(path) != nullptr);
  auto filesystem = kj::newDiskFilesystem();
  auto top = kj::Path::parse(kj::StringPtr(path).slice(1));
  auto directory = filesystem->getRoot().openSubdir(top, kj::WriteMode::MODIFY);
  KJ_DEFER(filesystem->getRoot().remove(top));
  auto elsewhere = directory->openSubdir(kj::Path("bootstrap"), kj::WriteMode::CREATE);
  auto triedir = directory->openSubdir(kj::Path("triedir"), kj::WriteMode::CREATE);

  workedExample().store(*elsewhere, ROOT_CHECKPOINT_NAME);
  for (auto& name : filesOf(ROOT_CHECKPOINT_NAME)) {
    triedir->symlink(kj::Path(name.c_str()), kj::str("../bootstrap/", name.c_str()),
                     kj::WriteMode::CREATE);
  }
  EXPECT_TRUE(hasRootCheckpoint(*triedir));
  EXPECT_EQ(failureOf(*triedir, ROOT_CHECKPOINT_NAME, 2), "");

  // A link that leads nowhere is a fault, not an absent checkpoint.
  elsewhere->remove(kj::Path(ROOT_CHECKPOINT_NAME));
  EXPECT_TRUE(hasRootCheckpoint(*triedir));
  EXPECT_SAYS(failureOf(*triedir, ROOT_CHECKPOINT_NAME), "missing");
}

}  // namespace
}  // namespace ledger
