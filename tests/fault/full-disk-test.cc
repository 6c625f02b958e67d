// SPDX-License-Identifier: Apache-2.0
// A real file system fills up: Sets are refused in so many words, nothing that was acknowledged is
// lost, and with room again they go on without a restart.
#include "ledger/ledger.h"
#include "tests/fault/survivor.h"
#include "tests/testing/registers.h"
#include "tests/testing/small-disk.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>
#include <vector>

namespace ledger::testing {
namespace {

constexpr uint64_t MIB = uint64_t(1) << 20;
constexpr size_t VALUE_SIZE = 100'000;

bool contains(kj::StringPtr text, const char* part) {
  return std::string(text.cStr()).find(part) != std::string::npos;
}

class FullDisk : public ::testing::Test {
public:
  ~FullDisk() noexcept override {}

protected:
  void SetUp() override {
    auto made = SmallDisk::create(16 * MIB);
    KJ_IF_MAYBE (why, made.tryGet<kj::String>()) {
      GTEST_SKIP() << "skipped, because " << why->cStr();
    }
    disk = kj::mv(made.get<kj::Own<SmallDisk>>());
    filesystem = kj::newDiskFilesystem();  // Not before: it holds on to the mounts that there were.
    open();
    state = ledger->initialState();
  }

  void open(CheckpointPolicy checkpoints = {}) {
    ledger = nullptr;
    LedgerOptions options{.reporter = reports};
    options.walSegmentSize = MIB;
    options.checkpoints = kj::mv(checkpoints);
    options.checkpoints.distance = 1'000'000;
    options.checkpoints.diskReserve = 0;
    auto path = filesystem->getCurrentPath().evalNative(disk->path().c_str());
    ledger = Ledger::open(filesystem->getRoot().openSubdir(path, kj::WriteMode::MODIFY),
                          disk->path().c_str(),
                          shm::MemoryBudget::create("--memory-limit", 256 * MIB),
                          kj::mv(options));
  }

  // Null: acknowledged.
  kj::Maybe<Error> set(size_t length = VALUE_SIZE) {
    auto key = keyOf(written.size());
    auto value = valueOf(written.size(), length);
    EncodedKey encoded = key;
    Value bytes = value;
    auto result = ledger->set(state, kj::arrayPtr(&encoded, 1), kj::arrayPtr(&bytes, 1), nullptr,
                              Stop::never());
    KJ_IF_MAYBE (error, result.tryGet<Error>()) return kj::mv(*error);
    state = result.get<RootHash>();
    states.push_back(state);
    written.push_back(kj::mv(value));
    return nullptr;
  }

  void setUntilRefused() {
    for (int i = 0; i < 1000; ++i) {
      KJ_IF_MAYBE (error, set()) {
        EXPECT_EQ(error->reason, Reason::WRITE_FAILED);
        EXPECT_TRUE(contains(error->message, "No space left on device")) << error->message.cStr();
        return;
      }
    }
    FAIL() << "16 MiB hold more than that";
  }

  // Every acknowledged state, and every value in the newest.
  void expectAll() {
    for (auto& root : states) EXPECT_TRUE(ledger->hasState(root));
    EXPECT_EQ(ledger->stateCount(), states.size() + 1);
    for (size_t i = 0; i < written.size(); ++i) {
      auto key = keyOf(i);
      EncodedKey encoded = key;
      auto result = ledger->get(state, kj::arrayPtr(&encoded, 1), Stop::never());
      ASSERT_TRUE(result.is<Values>());
      EXPECT_TRUE(result.get<Values>().values[0] == written[i].asPtr()) << "register " << i;
    }
  }

  std::vector<std::string> checkpointFiles() {
    std::vector<std::string> found;
    for (auto& name : filesOf(disk->path())) {
      if (name.find("checkpoint.") != name.npos) found.push_back(name);
    }
    return found;
  }

  kj::Own<kj::Filesystem> filesystem;
  Reports reports;
  kj::Own<SmallDisk> disk;
  kj::Own<Ledger> ledger;
  RootHash state;
  std::vector<RootHash> states;
  std::vector<kj::Array<kj::byte>> written;
};

TEST_F(FullDisk, RefusesSetsUntilThereIsRoom) {
  disk->fill(5 * MIB / 2);
  setUntilRefused();
  EXPECT_GT(states.size(), 10u);
  expectAll();
  EXPECT_TRUE(set() != nullptr);
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::REFUSED);
  expectAll();

  disk->empty();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(set() == nullptr);
  EXPECT_EQ(ledger->stats().log.state, LogHealth::State::GOOD);
  expectAll();
  open();
  expectAll();
  EXPECT_TRUE(reports.warnings().empty() || contains(reports.warnings()[0].c_str(), "No space"));
}

// Small Sets find room where a large one did not.
TEST_F(FullDisk, TakesWhatStillFits) {
  disk->fill(MIB);
  setUntilRefused();
  EXPECT_TRUE(set(10) == nullptr);
  expectAll();
  open();
  expectAll();
}

TEST_F(FullDisk, StartsAgainWhileItIsFull) {
  disk->fill(MIB);
  setUntilRefused();
  open();
  expectAll();
  EXPECT_TRUE(set() != nullptr);
  disk->empty();
  EXPECT_TRUE(set() == nullptr);
  open();
  expectAll();
}

TEST_F(FullDisk, ACheckpointThatWouldNotFitIsNotBegun) {
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(set() == nullptr);
  disk->fill(MIB);
  auto result = ledger->checkpoint(Stop::never());
  ASSERT_TRUE(result.is<Error>());
  EXPECT_EQ(result.get<Error>().code, Code::RESOURCE_EXHAUSTED)
      << result.get<Error>().message.cStr();
  EXPECT_EQ(checkpointFiles(), std::vector<std::string>());
  EXPECT_TRUE(set() == nullptr);
  disk->empty();
  EXPECT_TRUE(ledger->checkpoint(Stop::never()).is<uint64_t>());
  open();
  expectAll();
}

// As if others had taken the room while it was written.
TEST_F(FullDisk, ACheckpointThatFillsItIsTakenBack) {
  CheckpointPolicy policy;
  policy.freeSpace = [](const kj::Directory&) -> kj::Maybe<uint64_t> { return nullptr; };
  open(kj::mv(policy));
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(set() == nullptr);
  disk->fill(2 * MIB);
  auto result = ledger->checkpoint(Stop::never());
  ASSERT_TRUE(result.is<Error>());
  EXPECT_EQ(result.get<Error>().reason, Reason::WRITE_FAILED);
  EXPECT_TRUE(contains(result.get<Error>().message, "No space left on device"))
      << result.get<Error>().message.cStr();
  EXPECT_EQ(checkpointFiles(), std::vector<std::string>());
  expectAll();
  EXPECT_TRUE(set() == nullptr) << "the room is there again";

  disk->empty();
  EXPECT_TRUE(ledger->checkpoint(Stop::never()).is<uint64_t>());
  EXPECT_EQ(checkpointFiles().size(), 18u);
  open();
  expectAll();
}

}  // namespace
}  // namespace ledger::testing
