// SPDX-License-Identifier: Apache-2.0
// `ledgerctl checkpoint` as operators and scripts see it: on checkpoints made here, and on golden
// ones of flow-go's, sound and damaged.
#include "ledger/checkpoint/checkpoint-testing.h"
#include "ledger/checkpoint/names.h"
#include "tests/testing/ledgerd-process.h"
#include "tools/ledgerctl/run-ledgerctl.h"

#include <kj/debug.h>
#include <kj/filesystem.h>
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>

namespace ledgerctl {
namespace {

using Json = nlohmann::json;
using ledger::testing::CheckpointParts;
using ledger::testing::interiorRecord;
using ledger::testing::topPart;
using ledger::testing::trieRecord;
using ledger::testing::workedExample;

constexpr const char* STATE = "b09447ef31324dfca87ac96821eadf7568b3e410129b2dfe1613aa403a4adcde";
constexpr const char* EMPTY = "568f4ec740fe3b5de88034cb7b1fbddb41548b068f31aebc8ae9189e429c5749";

// The worked example with the empty trie before its trie and once more behind it.
CheckpointParts severalTries() {
  auto parts = workedExample();
  auto& top = parts.bytes[ledger::CHECKPOINT_TOP_PART];
  auto record = top.substr(top.size() - 10 - ledger::CHECKPOINT_TRIE_SIZE,
                           ledger::CHECKPOINT_TRIE_SIZE);
  auto empty = trieRecord(0, 0, 0, ledger::testing::fromHex(EMPTY));
  top = top.substr(0, top.size() - 10 - ledger::CHECKPOINT_TRIE_SIZE) + empty + record + empty +
        ledger::testing::bigEndian(4, 8) + ledger::testing::bigEndian(3, 2);
  return parts;
}

class CheckpointCommandsTest : public testing::Test {
protected:
  CheckpointCommandsTest() {
    std::filesystem::create_directory(folder);
    auto filesystem = kj::newDiskFilesystem();
    directory = filesystem->getRoot().openSubdir(
        filesystem->getCurrentPath().evalNative(folder.c_str()), kj::WriteMode::MODIFY);
  }
  ~CheckpointCommandsTest() noexcept override {}

  Outcome run(const std::vector<std::string>& arguments) {
    return runLedgerctl(scratch, arguments);
  }

  Json answer(std::vector<std::string> arguments, int code = 0) {
    arguments.insert(arguments.begin(), {"--json", "checkpoint"});
    auto outcome = run(arguments);
    EXPECT_EQ(outcome.code, code) << outcome.out << outcome.err;
    return Json::parse(outcome.out, nullptr, false);
  }

  size_t filesIn(const std::string& path) {
    size_t count = 0;
    for (auto& entry : std::filesystem::directory_iterator(path)) count += entry.is_regular_file();
    return count;
  }

  Scratch scratch;
  const std::string folder = scratch / "folder";
  const std::string file = folder + "/checkpoint.00000007";
  kj::Own<const kj::Directory> directory;  // `folder`.
};

TEST_F(CheckpointCommandsTest, InfoAndRootsSayWhatItHolds) {
  severalTries().store(*directory, "checkpoint.00000007");
  auto info = answer({"info", file});
  EXPECT_EQ(info["version"], 6);
  EXPECT_EQ(info["bytes"], 78 + 398 + 15 * 16 + 286 + 2 * 56);
  EXPECT_EQ(info["tries"], 3);
  EXPECT_EQ(info["states"], 2);
  EXPECT_EQ(info["nodes"], 10);
  ASSERT_EQ(info["parts"].size(), 17u);
  EXPECT_EQ(info["parts"][0]["nodes"], 6);
  EXPECT_EQ(info["parts"][0]["checksum"], "ed9c005f");
  EXPECT_EQ(info["parts"][16]["file"], "checkpoint.00000007.016");
  EXPECT_NE(run({"checkpoint", "info", file}).out.find("tries    3, of 2 states"),
            std::string::npos);

  auto roots = answer({"roots", file})["tries"];
  ASSERT_EQ(roots.size(), 3u);
  EXPECT_EQ(roots[0]["state"], EMPTY);
  EXPECT_EQ(roots[1], Json({{"state", STATE}, {"registers", 2}, {"register_bytes", 20}}));
  auto text = run({"checkpoint", "roots", file}).out;
  EXPECT_NE(text.find(std::string("\n1  ") + STATE + "  2 registers, 20 bytes\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("0 bytes  latest\n"), std::string::npos);
}

// Nodes that are read by a command that must not need them.
TEST_F(CheckpointCommandsTest, InfoAndRootsReadNoNodes) {
  auto parts = workedExample();
  parts.bytes[0][4] = 9;  // No such type of node.
  parts.store(*directory, "checkpoint.00000007");
  EXPECT_EQ(answer({"info", file})["nodes"], 10);
  EXPECT_EQ(answer({"roots", file})["tries"][0]["state"], STATE);
  auto verdict = answer({"verify", file}, 4);
  EXPECT_EQ(verdict["sound"], false);
  auto reason = verdict["reason"].get<std::string>();
  EXPECT_NE(reason.find("checkpoint.00000007.000"), std::string::npos) << reason;
  EXPECT_NE(reason.find("offset = 4"), std::string::npos) << reason;
}

TEST_F(CheckpointCommandsTest, VerifyComputesHashesWhereAsked) {
  auto parts = severalTries();
  parts.store(*directory, "checkpoint.00000007");
  for (auto& arguments : {std::vector<std::string>{"verify", file}, {"verify", "--hashes", file}}) {
    auto verdict = answer(arguments);
    EXPECT_EQ(verdict["sound"], true);
    EXPECT_EQ(verdict["hashes_computed"], arguments.size() == 3);
    EXPECT_EQ(verdict["nodes"], 10);
    EXPECT_EQ(verdict["leaves"], 2);
    EXPECT_EQ(verdict["interiors"], 8);
    EXPECT_EQ(verdict["payload_bytes"], 20);
    EXPECT_EQ(verdict["tries"], 3);
  }
  // KI-9: another value under the same hash.
  parts.bytes[0][4 + 71 + 17] = 'x';
  parts.store(*directory, "checkpoint.00000007");
  EXPECT_EQ(answer({"verify", file})["sound"], true);
  auto changed = run({"checkpoint", "verify", file, "--hashes"});
  EXPECT_EQ(changed.code, 4);
  EXPECT_NE(changed.out.find("checkpoint.00000007.000 at offset 4"), std::string::npos)
      << changed.out;
}

TEST_F(CheckpointCommandsTest, WhatIsNoCheckpointIsToldFromADamagedOne) {
  workedExample().store(*directory, "checkpoint.00000007");
  for (auto command : {"info", "roots", "verify"}) {
    EXPECT_EQ(run({"checkpoint", command, scratch / "none"}).code, 2);
    EXPECT_EQ(run({"checkpoint", command, folder}).code, 2);
    EXPECT_EQ(run({"checkpoint", command, file + ".000"}).code, 4);
    EXPECT_EQ(run({"checkpoint", command, file}).code, 0);
  }
  directory->remove(kj::Path("checkpoint.00000007.005"));
  for (auto command : {"info", "roots", "verify"}) {
    auto outcome = run({"checkpoint", command, file});
    EXPECT_EQ(outcome.code, 4);
    EXPECT_NE((outcome.out + outcome.err).find("checkpoint.00000007.005"), std::string::npos);
  }
}

// Counts that no file of this size can hold must not be believed.
TEST_F(CheckpointCommandsTest, HostileCountsAreRefused) {
  auto parts = workedExample();
  auto& top = parts.bytes[ledger::CHECKPOINT_TOP_PART];
  top.replace(top.size() - 10, 8, std::string(8, '\xff'));
  parts.store(*directory, "checkpoint.00000007");
  for (auto command : {"info", "roots", "verify"}) {
    EXPECT_EQ(run({"checkpoint", command, file}).code, 4);
  }
  EXPECT_EQ(run({"checkpoint", "export", file, "--state", "latest", "-o",
                 folder + "/checkpoint.00000008"})
                .code,
            4);
}

TEST_F(CheckpointCommandsTest, ExportWritesTheOneState) {
  severalTries().store(*directory, "checkpoint.00000007");
  auto target = scratch / "new";
  std::filesystem::create_directory(target);
  auto written = answer({"export", file, "--state", STATE, "-o", target + "/root.checkpoint"});
  EXPECT_EQ(written["state"], STATE);
  EXPECT_EQ(written["registers"], 2);
  EXPECT_EQ(written["nodes"], 10);

  // The worked example is that state alone.
  workedExample().store(*directory, "example");
  EXPECT_EQ(filesIn(target), 18u);
  EXPECT_EQ(readWhole(target + "/root.checkpoint"), readWhole(folder + "/example"));
  for (unsigned part = 0; part < ledger::CHECKPOINT_PARTS; ++part) {
    EXPECT_EQ(readWhole(target + "/" + ledger::checkpointPartName("root.checkpoint", part).cStr()),
              readWhole(folder + "/" + ledger::checkpointPartName("example", part).cStr()));
  }

  answer({"export", file, "--state", "latest", "-o", target + "/checkpoint.00000003"});
  EXPECT_EQ(answer({"roots", target + "/checkpoint.00000003"})["tries"][0]["state"], EMPTY);
}

// Files of somebody's that are gone, or a checkpoint that no ledger finds.
TEST_F(CheckpointCommandsTest, ExportRefusesWhatWouldDoHarm) {
  workedExample().store(*directory, "checkpoint.00000007");
  auto exportTo = [&](const std::string& output, const std::string& state = STATE) {
    return run({"checkpoint", "export", file, "--state", state, "--output", output}).code;
  };
  auto target = scratch / "new";
  std::filesystem::create_directory(target);
  EXPECT_EQ(exportTo(target + "/root.checkpoint", std::string(64, '0')), 1);
  EXPECT_EQ(exportTo(target + "/root.checkpoint", "initial"), 2);
  EXPECT_EQ(exportTo(target + "/root.checkpoint", "newest"), 2);
  for (auto name : {"", "checkpoint.7", "checkpoint.00000007.000", "other"}) {
    EXPECT_EQ(exportTo(target + "/" + name), 2) << name;
  }
  EXPECT_EQ(exportTo(target + "/no/root.checkpoint"), 2);
  EXPECT_EQ(exportTo(file), 1);

  // A part alone is in the way, too.
  scratch.file("new/root.checkpoint.016", "precious");
  EXPECT_EQ(exportTo(target + "/root.checkpoint"), 1);
  EXPECT_EQ(readWhole(target + "/root.checkpoint.016"), "precious");
  EXPECT_EQ(filesIn(target), 1u);

  // A ledger that runs there.
  int lock = open(scratch.file("new/.lock", "").c_str(), O_RDONLY);
  ASSERT_EQ(flock(lock, LOCK_EX | LOCK_NB), 0);
  EXPECT_EQ(exportTo(target + "/checkpoint.00000001"), 1);
  close(lock);
  EXPECT_EQ(exportTo(target + "/checkpoint.00000001"), 0);
}

// A state that a ledger cannot be started from.
TEST_F(CheckpointCommandsTest, ALedgerStartsFromAnExportedCheckpoint) {
  const char* root = getenv("LEDGERD_GOLDEN");
  if (root == nullptr) GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data";
  auto source = std::string(root) + "/scenario-small/triedir/checkpoint.00000005";
  auto target = scratch / "new";
  std::filesystem::create_directory(target);
  auto tries = answer({"roots", source})["tries"];
  std::string state = tries[17]["state"];
  answer({"export", source, "--state", state, "-o", target + "/root.checkpoint"});
  answer({"verify", "--hashes", target + "/root.checkpoint"});

  ledger::testing::LedgerdProcess ledgerd({.binary = ledger::testing::ledgerdBinary(),
                                           .triedir = target,
                                           .socket = scratch / "socket",
                                           .flags = {},
                                           .wrapper = {},
                                           .inChildArgument = {}});
  auto info = Json::parse(run({"--json", "--socket", scratch / "socket", "info"}).out);
  EXPECT_EQ(info["ledger"]["newest_registers"], tries[17]["registers"]);
  EXPECT_EQ(run({"--socket", scratch / "socket", "has", state}).code, 0);
}

// A checkpoint of one state is the bytes that flow-go wrote of it.
TEST_F(CheckpointCommandsTest, ExportOfFlowGosGenesisIsFlowGosFile) {
  const char* root = getenv("LEDGERD_GOLDEN");
  if (root == nullptr) GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data";
  auto source = std::string(root) + "/flow-genesis/triedir-root/root.checkpoint";
  answer({"export", source, "--state", "latest", "-o", folder + "/root.checkpoint"});
  EXPECT_EQ(readWhole(folder + "/root.checkpoint"), readWhole(source));
  for (unsigned part = 0; part < ledger::CHECKPOINT_PARTS; ++part) {
    std::string suffix = ledger::checkpointPartName("", part).cStr();
    EXPECT_EQ(readWhole(folder + "/root.checkpoint" + suffix), readWhole(source + suffix));
  }
}

TEST_F(CheckpointCommandsTest, GoldenFaults) {
  const char* root = getenv("LEDGERD_GOLDEN");
  if (root == nullptr) GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data";
  auto verify = [&](const std::string& kind) {
    return run({"checkpoint", "verify", "--hashes",
                std::string(root) + "/wal-faults/" + kind + "/checkpoint.00000002"})
        .code;
  };
  EXPECT_EQ(verify("good-checkpoint"), 0);
  EXPECT_EQ(verify("ckpt-missing-header"), 2);
  for (auto kind :
       {"missing-part", "missing-top", "flip-part", "flip-part-crc", "flip-top", "flip-header-sum",
        "flip-header-crc", "bad-magic", "bad-version", "truncated-header", "empty-header",
        "truncated-part", "empty-part", "trailing-part", "swapped-parts", "both-bad"}) {
    EXPECT_EQ(verify(std::string("ckpt-") + kind), 4) << kind;
  }
}

}  // namespace
}  // namespace ledgerctl
