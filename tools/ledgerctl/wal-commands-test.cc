// SPDX-License-Identifier: Apache-2.0
// `ledgerctl wal` as operators and scripts see it: on logs made here, and on flow-go's golden ones,
// sound and damaged.
#include "ledger/checkpoint/checkpoint-testing.h"
#include "ledger/checkpoint/names.h"
#include "ledger/trie-update.h"
#include "ledger/wal/wal-testing.h"
#include "tools/ledgerctl/run-ledgerctl.h"

#include <kj/debug.h>
#include <kj/filesystem.h>
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

namespace ledgerctl {
namespace {

using Json = nlohmann::json;
using ledger::Path;
using ledger::Payload;
using ledger::RootHash;

constexpr kj::StringPtr NAME = "checkpoint.00000000"_kj;

std::string updateRecord(kj::byte parent, const std::vector<std::string>& values) {
  RootHash root;
  root.bytes.fill(parent);
  const ledger::KeyPart parts[] = {{0, "owner"_kj.asBytes()}, {2, "a/b"_kj.asBytes()}};
  auto key = ledger::encodeKey(parts);
  auto paths = kj::heapArray<Path>(values.size());
  auto payloads = KJ_MAP(value, kj::arrayPtr(values.data(), values.size())) {
    return Payload{key.get<kj::Array<kj::byte>>(), ledger::testing::asBytes(value)};
  };
  ledger::TrieUpdate update{root, paths, payloads};
  auto record = kj::heapArray<kj::byte>(ledger::walRecordSize(update).get<uint64_t>());
  ledger::encodeWalRecord(update, record);
  return ledger::testing::asString(record);
}

std::string deleteRecord(kj::byte state) {
  ledger::WalDelete deletion;
  deletion.root.bytes.fill(state);
  return ledger::testing::asString(ledger::encodeWalRecord(deletion));
}

std::vector<std::string> linesOf(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

class WalCommandsTest : public testing::Test {
protected:
  WalCommandsTest() {
    std::filesystem::create_directory(log);
    auto filesystem = kj::newDiskFilesystem();
    directory = filesystem->getRoot().openSubdir(
        filesystem->getCurrentPath().evalNative(log.c_str()), kj::WriteMode::MODIFY);
  }
  ~WalCommandsTest() noexcept override {}

  Outcome run(const std::vector<std::string>& arguments) {
    return runLedgerctl(scratch, arguments);
  }

  Json verdict(const std::string& path) {
    auto outcome = run({"--json", "wal", "verify", path});
    auto json = Json::parse(outcome.out, nullptr, false);
    EXPECT_EQ(outcome.code, json.value("sound", false) ? 0 : 4) << outcome.out << outcome.err;
    return json;
  }

  Scratch scratch;
  const std::string log = scratch / "log";
  kj::Own<const kj::Directory> directory;  // `log`.
};

// A column that is another's, or a record that is left out.
TEST_F(WalCommandsTest, DumpListsEveryRecord) {
  ledger::testing::writeLog(
      *directory, {updateRecord(0x11, {"abc", ""}), deleteRecord(0x22), updateRecord(0x33, {"x"})});
  auto states = [](const char* digits) {
    std::string text;
    for (int i = 0; i < 32; ++i) text += digits;
    return text;
  };

  auto text = linesOf(run({"wal", "dump", log, "--registers"}).out);
  ASSERT_EQ(text.size(), 6u);
  EXPECT_EQ(text[0].find("00000000         0  update  " + states("11") + "  "), 0u) << text[0];
  EXPECT_NE(text[0].find(" bytes, 2 registers"), std::string::npos) << text[0];
  EXPECT_EQ(text[1], "    0:owner/2:a%2fb  3 bytes");
  EXPECT_EQ(text[2], "    0:owner/2:a%2fb  unallocated");
  EXPECT_NE(text[3].find("  delete  " + states("22") + "  35 bytes"), std::string::npos);
  EXPECT_NE(text[4].find(" bytes, 1 register"), std::string::npos) << text[4];
  EXPECT_EQ(linesOf(run({"wal", "dump", log}).out).size(), 3u);

  auto outcome = run({"wal", "dump", log, "--registers", "--json"});
  EXPECT_EQ(outcome.code, 0);
  auto lines = linesOf(outcome.out);
  ASSERT_EQ(lines.size(), 3u);
  auto update = Json::parse(lines[0]), deletion = Json::parse(lines[1]);
  EXPECT_EQ(update["segment"], 0);
  EXPECT_EQ(update["offset"], 0);
  EXPECT_EQ(update["kind"], "update");
  EXPECT_EQ(update["parent"], states("11"));
  EXPECT_EQ(update["registers"], 2);
  ASSERT_EQ(update["updates"].size(), 2u);
  EXPECT_EQ(update["updates"][0]["key"][1]["value"], "612f62");
  EXPECT_EQ(update["updates"][0]["value_bytes"], 3);
  EXPECT_EQ(update["updates"][1]["value_bytes"], 0);
  EXPECT_EQ(deletion["kind"], "delete");
  EXPECT_EQ(deletion["state"], states("22"));
  EXPECT_EQ(deletion["offset"], 7 + update["bytes"].get<uint64_t>());
  auto brief = linesOf(run({"--json", "wal", "dump", log}).out);
  EXPECT_FALSE(Json::parse(brief.at(0)).contains("updates"));
}

// A list that is gathered in pieces and loses one.
TEST_F(WalCommandsTest, DumpWritesLongListsWhole) {
  ledger::testing::writeLog(*directory, {updateRecord(1, std::vector<std::string>(5000, "v"))});
  EXPECT_EQ(linesOf(run({"wal", "dump", log, "--registers"}).out).size(), 5001u);
  auto outcome = run({"--json", "wal", "dump", log, "--registers"});
  EXPECT_EQ(Json::parse(outcome.out)["updates"].size(), 5000u);
}

TEST_F(WalCommandsTest, DumpKeepsToTheSegmentsAskedFor) {
  std::string value(20000, 'v');
  std::vector<std::string> records;
  for (kj::byte i = 0; i < 8; ++i) records.push_back(updateRecord(i, {value}));
  ledger::testing::writeLog(*directory, records, 2 * ledger::WAL_PAGE_SIZE);
  auto segments = [&](std::vector<std::string> limits) {
    limits.insert(limits.begin(), {"--json", "wal", "dump", log});
    auto outcome = run(limits);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    auto lines = linesOf(outcome.out);
    if (lines.empty()) return std::pair(-1, -1);
    return std::pair(Json::parse(lines.front())["segment"].get<int>(),
                     Json::parse(lines.back())["segment"].get<int>());
  };
  EXPECT_EQ(segments({}), std::pair(0, 2));
  EXPECT_EQ(segments({"--from", "1"}), std::pair(1, 2));
  EXPECT_EQ(segments({"--to", "1"}), std::pair(0, 1));
  EXPECT_EQ(segments({"--from", "1", "--to", "1"}), std::pair(1, 1));
  EXPECT_EQ(segments({"--from", "2", "--to", "999999999999999999"}), std::pair(2, 2));
  for (auto& none : {std::vector<std::string>{"--from", "9"}, {"--from", "2", "--to", "1"}}) {
    auto arguments = std::vector<std::string>{"wal", "dump", log};
    arguments.insert(arguments.end(), none.begin(), none.end());
    EXPECT_EQ(run(arguments).code, 2);
  }
}

// What was read before the damage must come out, and the exit code must tell.
TEST_F(WalCommandsTest, DumpEndsAtDamageAndSaysSo) {
  ledger::testing::writeLog(*directory, {updateRecord(1, {"a"}), "junk", updateRecord(2, {"b"})});
  auto undecodable = run({"--json", "wal", "dump", log});
  EXPECT_EQ(undecodable.code, 4);
  ASSERT_EQ(linesOf(undecodable.out).size(), 3u);
  EXPECT_EQ(Json::parse(linesOf(undecodable.out)[1])["kind"], "undecodable");

  auto bytes = ledger::testing::readFile(*directory, "00000000");
  bytes[7] ^= 1;
  ledger::testing::writeFile(*directory, "00000000", bytes);
  auto damaged = run({"wal", "dump", log});
  EXPECT_EQ(damaged.code, 4);
  EXPECT_EQ(damaged.out, "");
  EXPECT_NE(damaged.err.find("00000000 at offset 0"), std::string::npos) << damaged.err;
}

TEST_F(WalCommandsTest, VerifyCountsASoundLog) {
  ledger::testing::writeLog(
      *directory, {updateRecord(1, {"abc", ""}), deleteRecord(2), updateRecord(3, {"x"})});
  auto json = verdict(log);
  EXPECT_EQ(json["sound"], true);
  EXPECT_EQ(json["segments"], 1);
  EXPECT_EQ(json["segment_bytes"], ledger::WAL_PAGE_SIZE);
  EXPECT_EQ(json["updates"], 2);
  EXPECT_EQ(json["registers"], 3);
  EXPECT_EQ(json["deletes"], 1);
  EXPECT_EQ(json["first_record"]["offset"], 0);
  EXPECT_GT(json["last_record"]["offset"], 40);
  EXPECT_EQ(json["start"]["first_segment"], 0);
  EXPECT_FALSE(json["start"].contains("checkpoint"));
  EXPECT_EQ(json["fault_count"], 0);
  auto text = run({"wal", "verify", log});
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("sound"), std::string::npos);
  EXPECT_EQ(text.err, "");  // No bar where nobody watches.
}

// Whether a start of ledgerd goes on is what an operator wants to know.
TEST_F(WalCommandsTest, VerifySaysWhatAStartMakesOfDamage) {
  auto record = updateRecord(1, {std::string(1000, 'v')});
  ledger::testing::writeLog(*directory, {record, record, record});
  auto bytes = ledger::testing::readFile(*directory, "00000000");
  const uint64_t step = record.size() + 7;

  auto torn = bytes.substr(0, 2 * step + 50);
  ledger::testing::writeFile(*directory, "00000000", torn);
  auto json = verdict(log);
  ASSERT_EQ(json["faults"].size(), 1u);
  EXPECT_EQ(json["updates"], 2);
  EXPECT_EQ(json["faults"][0]["file"], "00000000");
  EXPECT_EQ(json["faults"][0]["offset"], 2 * step);
  EXPECT_EQ(json["faults"][0]["start"], "cut");
  EXPECT_EQ(ledger::testing::readFile(*directory, "00000000"), torn);

  bytes[step + 100] ^= 1;
  ledger::testing::writeFile(*directory, "00000000", bytes);
  json = verdict(log);
  ASSERT_EQ(json["faults"].size(), 1u);
  EXPECT_EQ(json["updates"], 1);
  EXPECT_EQ(json["faults"][0]["offset"], step);
  EXPECT_EQ(json["faults"][0]["start"], "refused");

  // A checkpoint for the segment, and one with records behind it.
  ledger::testing::workedExample().store(*directory, NAME);
  ledger::testing::writeFile(*directory, "00000001", torn.substr(0, step));
  json = verdict(log);
  ASSERT_EQ(json["faults"].size(), 1u);
  EXPECT_EQ(json["updates"], 2);
  EXPECT_EQ(json["faults"][0]["start"], "not_read");
  EXPECT_EQ(json["start"]["checkpoint"], "checkpoint.00000000");
  EXPECT_EQ(json["start"]["first_segment"], 1);
}

// A list of faults without end.
TEST_F(WalCommandsTest, VerifyCountsFaultsAndListsSome) {
  ledger::testing::writeLog(*directory, std::vector<std::string>(50, "junk"));
  auto json = verdict(log);
  EXPECT_EQ(json["fault_count"], 50);
  EXPECT_EQ(json["faults"].size(), 20u);
  EXPECT_EQ(json["faults"][0]["start"], "refused");
  EXPECT_NE(run({"wal", "verify", log}).out.find("and 30 more"), std::string::npos);
}

TEST_F(WalCommandsTest, WhatIsNotALedgersDirectoryIsWrongUsage) {
  for (auto command : {"dump", "verify"}) {
    EXPECT_EQ(run({"wal", command, log}).code, 2);  // Empty.
    EXPECT_EQ(run({"wal", command, scratch / "none"}).code, 2);
    EXPECT_EQ(run({"wal", command, scratch.file("file", "x")}).code, 2);
  }
  // Segments that are missing in between, and names that only look like segments.
  ledger::testing::writeFile(*directory, "00000000", "");
  ledger::testing::writeFile(*directory, "00000002", "");
  EXPECT_EQ(run({"wal", "verify", log}).code, 4);
  directory->remove(kj::Path("00000002"));
  EXPECT_EQ(run({"wal", "verify", log}).code, 0);
  ledger::testing::writeFile(*directory, "7", "");
  EXPECT_EQ(run({"--json", "wal", "verify", log}).code, 4);
}

// A checkpoint that is above every segment: what lies between is missing, though no file is bad.
TEST_F(WalCommandsTest, VerifySeesThatAStartWouldBeRefused) {
  ledger::testing::writeLog(*directory, {updateRecord(1, {"a"})});
  ledger::testing::workedExample().store(*directory, "checkpoint.00000009");
  auto json = verdict(log);
  EXPECT_EQ(json["sound"], false);
  EXPECT_EQ(json["start"], Json());
  EXPECT_EQ(json["faults"][0]["start"], "refused");
  EXPECT_EQ(json["faults"][0]["file"], Json());
}

// The verdicts that the library's own tests give on flow-go's logs, through the program.
TEST_F(WalCommandsTest, GoldenLogs) {
  const char* root = getenv("LEDGERD_GOLDEN");
  if (root == nullptr) GTEST_SKIP() << ledger::testing::NO_GOLDEN;
  auto at = [&](const char* path) { return std::string(root) + "/" + path; };
  for (auto sound : {"flow-genesis/triedir", "scenario-small/triedir", "wal-faults/good-page-edges",
                     "wal-faults/good-segment-edges", "wal-faults/wal-delete-record",
                     "wal-faults/wal-unpadded"}) {
    SCOPED_TRACE(sound);
    auto json = verdict(at(sound));
    EXPECT_EQ(json["sound"], true);
    auto dump = run({"--json", "wal", "dump", "--registers", at(sound)});
    EXPECT_EQ(dump.code, 0);
    uint64_t updates = 0, registers = 0;
    for (auto& line : linesOf(dump.out)) {
      auto record = Json::parse(line);
      if (record["kind"] != "update") continue;
      ++updates;
      registers += record["updates"].size();
      EXPECT_EQ(record["registers"], record["updates"].size());
    }
    EXPECT_EQ(json["updates"], updates);
    EXPECT_EQ(json["registers"], registers);
  }
  const std::pair<const char*, const char*> DAMAGED[] = {
      {"wal-faults/wal-torn-0001", "cut"},
      {"wal-faults/wal-torn-6769", "cut"},
      {"wal-faults/wal-zero-tail", "cut"},
      {"wal-faults/ckpt-torn-wal", "cut"},
      {"wal-faults/wal-flip-data", "refused"},
      {"wal-faults/wal-flip-first", "refused"},
      {"wal-faults/wal-bad-operation", "refused"},
      {"wal-faults/wal-truncated-update", "refused"},
      {"wal-faults/segments-flip-middle", "refused"},
      {"wal-faults/segments-truncated-middle", "refused"},
  };
  for (auto& [path, start] : DAMAGED) {
    SCOPED_TRACE(path);
    auto json = verdict(at(path));
    ASSERT_EQ(json["faults"].size(), 1u);
    EXPECT_EQ(json["faults"][0]["start"], start);
    EXPECT_EQ(run({"wal", "dump", at(path)}).code, 4);
  }
}

}  // namespace
}  // namespace ledgerctl
