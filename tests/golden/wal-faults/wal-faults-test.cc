// SPDX-License-Identifier: Apache-2.0
// Every damaged directory that flow-go was given, opened by our ledger. What flow-go does with each
// is in faults.json; what ours does is the table below, which docs/durability.md explains. However a
// directory ends, what is set afterwards is there at the next start: flow-go loses it where it read
// damage as the end of the log.

#include "ledger/encoding.h"
#include "ledger/ledger.h"
#include "tests/golden/blob.h"
#include "tests/golden/scenario.h"
#include "tests/testing/kept-warnings.h"
#include "tests/testing/scratch-folder.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/encoding.h>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace ledger {
namespace {

using nlohmann::json;
using testing::ScratchFolder;

enum class Start {
  AS_FLOW_GO,   // The same states, and the same files.
  TAIL_CUT,     // The same states; the torn tail is cut and kept, with a warning.
  OTHER_START,  // flow-go's states; an older checkpoint than the damaged one, with a warning.
  // Of good-checkpoint, whose checkpoints these are. flow-go starts with the empty ledger (KI-7).
  NEWEST_CHECKPOINT,
  REFUSED,  // With the text that is given. Nothing is changed.
};

// What --recover makes of a directory that is refused.
enum class Recover {
  FLOW_GOS_STATES,  // Those at which flow-go stops reading.
  SOME_STATES,      // flow-go does not start, or with other states: so many as the table says.
  REFUSED,          // --recover does not help: files are missing.
};

struct Expected {
  Start start;
  const char* text = "";
  Recover recover = Recover::REFUSED;
  size_t states = 0;  // With SOME_STATES.
};

const std::map<std::string, Expected> EXPECTED = {
    {"good-wal", {Start::AS_FLOW_GO}},
    {"good-segments", {Start::AS_FLOW_GO}},
    {"good-page-edges", {Start::AS_FLOW_GO}},
    {"good-segment-edges", {Start::AS_FLOW_GO}},
    {"good-checkpoint", {Start::AS_FLOW_GO}},

    // Torn tails, and what cannot be told from one.
    {"wal-torn-0001", {Start::TAIL_CUT}},
    {"wal-torn-0003", {Start::TAIL_CUT}},
    {"wal-torn-0007", {Start::TAIL_CUT}},
    {"wal-torn-0008", {Start::TAIL_CUT}},
    {"wal-torn-3385", {Start::TAIL_CUT}},
    {"wal-torn-6769", {Start::TAIL_CUT}},
    {"wal-torn-previous", {Start::TAIL_CUT}},
    {"wal-zero-tail", {Start::TAIL_CUT}},
    {"wal-garbage-padding", {Start::TAIL_CUT}},
    {"segments-last-first-page-only", {Start::TAIL_CUT}},
    {"ckpt-torn-wal", {Start::TAIL_CUT}},

    // No trace of damage.
    {"wal-unpadded", {Start::AS_FLOW_GO}},
    {"wal-empty-segment", {Start::AS_FLOW_GO}},
    {"wal-zero-last-record", {Start::AS_FLOW_GO}},
    {"wal-flip-type", {Start::AS_FLOW_GO}},  // A bit that nobody looks at.
    {"wal-delete-record", {Start::AS_FLOW_GO}},
    {"wal-duplicate-record", {Start::AS_FLOW_GO}},
    {"wal-reordered", {Start::AS_FLOW_GO}},
    {"wal-no-segments", {Start::AS_FLOW_GO}},
    {"wal-renamed", {Start::AS_FLOW_GO}},
    {"wal-stray-files", {Start::AS_FLOW_GO}},
    {"segments-missing-last", {Start::AS_FLOW_GO}},

    // Damage before sound records: flow-go takes it for the end of the log (KI-3).
    {"wal-zero-middle-record",
     {Start::REFUSED, "file 00000000 at offset 13557", Recover::FLOW_GOS_STATES}},
    {"wal-flip-data", {Start::REFUSED, "file 00000000 at offset 13557", Recover::FLOW_GOS_STATES}},
    {"wal-flip-crc", {Start::REFUSED, "file 00000000 at offset 13557", Recover::FLOW_GOS_STATES}},
    {"wal-flip-length",
     {Start::REFUSED, "file 00000000 at offset 13557", Recover::FLOW_GOS_STATES}},
    {"wal-bad-type", {Start::REFUSED, "unexpected record type 5", Recover::FLOW_GOS_STATES}},
    {"wal-flip-first", {Start::REFUSED, "file 00000000 at offset 0", Recover::FLOW_GOS_STATES}},
    {"segments-flip-middle",
     {Start::REFUSED, "file 00000001 at offset 32768", Recover::FLOW_GOS_STATES}},
    {"segments-truncated-middle",
     {Start::REFUSED, "segment 00000002 was written after it", Recover::FLOW_GOS_STATES}},
    {"segments-truncated-page",
     {Start::REFUSED, "segment 00000002 was written after it", Recover::FLOW_GOS_STATES}},

    // Records that are sound and of no use: flow-go does not start either.
    {"wal-bad-operation",
     {Start::REFUSED, "00000000 at offset 5199: the record does not decode", Recover::SOME_STATES,
      3}},
    {"wal-short-record",
     {Start::REFUSED, "00000000 at offset 5199: the record does not decode", Recover::SOME_STATES,
      3}},
    {"wal-truncated-update",
     {Start::REFUSED, "00000000 at offset 5199: the record does not decode", Recover::SOME_STATES,
      3}},
    {"wal-empty-record",
     {Start::REFUSED, "a fragment without bytes", Recover::SOME_STATES, 3}},
    {"wal-missing-parent", {Start::REFUSED, "which is not there", Recover::SOME_STATES, 3}},

    // Files that are missing.
    {"segments-missing-middle", {Start::REFUSED, "some are missing between these two"}},
    {"segments-missing-first", {Start::REFUSED, "segments 0 to 0"}},
    {"ckpt-segments-dropped-bad", {Start::REFUSED, "checkpoint.00000002 does not load"}},
    {"ckpt-segments-dropped-all-bad", {Start::REFUSED, "checkpoint.00000002 does not load"}},
    {"root-checkpoint-bad", {Start::REFUSED, "root.checkpoint does not load"}},

    // Checkpoints.
    {"ckpt-missing-header", {Start::AS_FLOW_GO}},
    {"ckpt-missing-part", {Start::OTHER_START}},
    {"ckpt-missing-top", {Start::OTHER_START}},
    {"ckpt-flip-part", {Start::OTHER_START}},
    {"ckpt-flip-part-crc", {Start::OTHER_START}},
    {"ckpt-flip-top", {Start::OTHER_START}},
    {"ckpt-flip-header-sum", {Start::OTHER_START}},
    {"ckpt-flip-header-crc", {Start::OTHER_START}},
    {"ckpt-bad-magic", {Start::OTHER_START}},
    {"ckpt-bad-version", {Start::OTHER_START}},
    {"ckpt-truncated-header", {Start::OTHER_START}},
    {"ckpt-empty-header", {Start::OTHER_START}},
    {"ckpt-truncated-part", {Start::OTHER_START}},
    {"ckpt-empty-part", {Start::OTHER_START}},
    {"ckpt-trailing-part", {Start::OTHER_START}},
    {"ckpt-swapped-parts", {Start::OTHER_START}},
    {"ckpt-both-bad", {Start::OTHER_START}},
    {"ckpt-segments-dropped", {Start::AS_FLOW_GO}},
    {"ckpt-no-wal", {Start::NEWEST_CHECKPOINT}},
    {"root-checkpoint", {Start::AS_FLOW_GO}},
};

class Folder {
public:
  Folder(const std::string& from, uint32_t capacity) : capacity(capacity) {
    std::filesystem::create_directory(path());
    if (std::filesystem::exists(from)) testing::copyFolder(from, path());
  }

  std::string path() const { return scratch / "triedir"; }

  // Null: it was opened.
  kj::Maybe<std::string> open(LedgerOptions::Damage damage = LedgerOptions::Damage::REFUSE) {
    ledger = nullptr;
    LedgerOptions options{.reporter = notes};
    options.forestCapacity = capacity;
    options.damage = damage;
    auto disk = kj::newDiskFilesystem();
    auto at = disk->getCurrentPath().evalNative(path().c_str());
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                   ledger = Ledger::open(
                       disk->getRoot().openSubdir(at, kj::WriteMode::MODIFY), path().c_str(),
                       shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 30),
                       kj::mv(options));
                 })) {
      return std::string(exception->getDescription().cStr());
    }
    return nullptr;
  }

  std::vector<std::string> states() const {
    std::vector<std::string> result;
    for (auto& state : ledger->states()) result.push_back(kj::encodeHex(state.ptr()).cStr());
    return result;
  }

  RootHash append(const json& append) const {
    auto key = golden::encodeGoldenKey(append.at("key"));
    auto value = golden::fromHex(append.at("value").get<std::string>());
    const EncodedKey keys[] = {key};
    const Value values[] = {value};
    auto newest = ledger->stateByIndex(-1);
    auto set = ledger->set(newest.get<RootHash>(), keys, values, nullptr, Stop::never());
    KJ_REQUIRE(set.is<RootHash>(), set.get<Error>().message);
    return set.get<RootHash>();
  }

  bool has(const RootHash& state) const { return ledger->hasState(state); }

  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> result;
    for (auto& name : testing::filesOf(path())) {
      if (name == ".lock") continue;
      auto bytes = testing::readFile(path() + "/" + name);
      result[name] = std::string(bytes.asChars().begin(), bytes.size());
    }
    return result;
  }

  testing::KeptWarnings notes;

private:
  const uint32_t capacity;
  ScratchFolder scratch;
  kj::Own<Ledger> ledger;
};

std::vector<std::string> statesOf(const json& load) {
  std::vector<std::string> result;
  if (load.contains("states")) {
    for (auto& state : load.at("states")) result.push_back(state.get<std::string>());
  }
  return result;
}

void goOn(Folder& folder, const json& append) {
  const auto state = folder.append(append);
  const auto before = folder.states();
  auto refusal = folder.open();
  ASSERT_TRUE(refusal == nullptr) << KJ_ASSERT_NONNULL(refusal);
  EXPECT_TRUE(folder.has(state)) << "what was acknowledged after the damage is lost";
  EXPECT_EQ(folder.states(), before);
}

class WalFaults : public ::testing::Test {
public:
  ~WalFaults() noexcept override {}

protected:
  void SetUp() override {
    const char* root = getenv("LEDGERD_GOLDEN");
    if (root == nullptr) GTEST_SKIP() << "skipped, because LEDGERD_GOLDEN names no golden data";
    folder = std::string(root) + "/wal-faults/";
    std::ifstream in(folder + "faults.json");
    faults = json::parse(in);
  }

  void check(const json& fault, const Expected& expected) {
    const auto name = fault.at("dir").get<std::string>();
    const auto& load = fault.at("load");
    Folder copy(folder + name, fault.at("forest_capacity").get<uint32_t>());
    const auto before = copy.files();
    auto refusal = copy.open();
    if (expected.start == Start::REFUSED) {
      KJ_IF_MAYBE (text, refusal) {
        EXPECT_NE(text->find(expected.text), text->npos) << *text;
      } else {
        FAIL() << "opened, where a refusal is due";
      }
      EXPECT_EQ(copy.files(), before) << "a start that is refused changed something";
      return checkRecovery(copy, fault, expected);
    }
    ASSERT_TRUE(refusal == nullptr) << KJ_ASSERT_NONNULL(refusal);
    ASSERT_TRUE(load.at("ok").get<bool>());
    if (expected.start == Start::NEWEST_CHECKPOINT) {
      EXPECT_EQ(copy.states().size(), 4u);
      EXPECT_NE(copy.states(), statesOf(load));
    } else {
      EXPECT_EQ(copy.states(), statesOf(load));
    }
    auto warnings = copy.notes.take();
    EXPECT_EQ(warnings.empty(),
              expected.start == Start::AS_FLOW_GO || expected.start == Start::NEWEST_CHECKPOINT);
    if (expected.start == Start::AS_FLOW_GO) {
      for (auto& [file, bytes] : before) EXPECT_EQ(copy.files()[file], bytes) << file;
    }
    goOn(copy, faults.at("append"));
  }

  void checkRecovery(Folder& copy, const json& fault, const Expected& expected) {
    copy.notes.take();
    auto refusal = copy.open(LedgerOptions::Damage::SET_ASIDE);
    EXPECT_EQ(refusal != nullptr, expected.recover == Recover::REFUSED)
        << refusal.orDefault(std::string());
    if (refusal != nullptr || expected.recover == Recover::REFUSED) return;
    EXPECT_FALSE(copy.notes.take().empty());
    if (expected.recover == Recover::FLOW_GOS_STATES) {
      EXPECT_EQ(copy.states(), statesOf(fault.at("load")));
    } else {
      EXPECT_EQ(copy.states().size(), expected.states);
    }
    // A record that was passed over stays in the log until a checkpoint covers it.
    if (std::string(expected.text).find("which is not there") != std::string::npos) return;
    goOn(copy, faults.at("append"));
  }

  std::string folder;
  json faults;
};

TEST_F(WalFaults, EachEndsAsTheTableSays) {
  std::set<std::string> seen;
  for (auto& fault : faults.at("faults")) {
    const auto name = fault.at("dir").get<std::string>();
    SCOPED_TRACE(name);
    auto expected = EXPECTED.find(name);
    if (expected == EXPECTED.end()) {
      ADD_FAILURE() << "not in the table";
      continue;
    }
    seen.insert(name);
    check(fault, expected->second);
  }
  EXPECT_EQ(seen.size(), EXPECTED.size());
  RecordProperty("directories", int(seen.size()));
}

// flow-go panics.
TEST_F(WalFaults, OpenedTwiceIsARefusal) {
  Folder copy(folder + "good-wal", 40);
  ASSERT_TRUE(copy.open() == nullptr);
  LedgerOptions options;
  auto disk = kj::newDiskFilesystem();
  auto at = disk->getCurrentPath().evalNative(copy.path().c_str());
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 Ledger::open(disk->getRoot().openSubdir(at, kj::WriteMode::MODIFY), "triedir",
                              shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 30),
                              kj::mv(options));
               })) {
    std::string text = exception->getDescription().cStr();
    EXPECT_NE(text.find("another process is already using this directory"), text.npos) << text;
  } else {
    ADD_FAILURE() << "two ledgers in one directory";
  }
}

}  // namespace
}  // namespace ledger
