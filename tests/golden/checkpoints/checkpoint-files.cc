// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/checkpoints/checkpoint-files.h"

#include "ledger/checkpoint-loader.h"
#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/writer.h"
#include "tests/testing/scratch-folder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

namespace ledger::testing {
namespace {

kj::Path goldenPath(const kj::Filesystem& filesystem, const std::string& path) {
  const char* root = getenv("LEDGERD_GOLDEN");
  KJ_REQUIRE(root != nullptr);
  return filesystem.getCurrentPath().evalNative(kj::str(root, "/", path.c_str()));
}

void expectSameFile(const kj::ReadableDirectory& expected, const kj::ReadableDirectory& actual,
                    kj::StringPtr name) {
  auto want = expected.openFile(kj::Path(name))->readAllBytes();
  auto got = actual.openFile(kj::Path(name))->readAllBytes();
  auto different = std::mismatch(want.begin(), want.end(), got.begin(), got.end());
  EXPECT_TRUE(want.asPtr() == got.asPtr())
      << name.cStr() << ": " << want.size() << " bytes expected, " << got.size()
      << " written; the first difference is at " << different.first - want.begin();
}

}  // namespace

kj::Own<const kj::ReadableDirectory> goldenFolder(const std::string& path) {
  auto filesystem = kj::newDiskFilesystem();
  return filesystem->getRoot().openSubdir(goldenPath(*filesystem, path));
}

kj::Own<const kj::ReadableFile> goldenFile(const std::string& path) {
  auto filesystem = kj::newDiskFilesystem();
  return filesystem->getRoot().openFile(goldenPath(*filesystem, path));
}

kj::Own<const Store> newStore() {
  constexpr uint64_t LIMIT = uint64_t(1) << 30;
  return kj::atomicRefcounted<Store>(
      *shm::MemoryBudget::create("--memory-limit", LIMIT),
      SegmentSizes{uint64_t(1) << 20, uint64_t(64) << 20, uint64_t(256) << 10});
}

kj::Array<kj::Own<const Trie>> loadCheckpoint(const kj::ReadableDirectory& directory,
                                              kj::StringPtr name, const Store& store) {
  CheckpointLoader loader(kj::atomicAddRef(store));
  readCheckpoint(directory, name, loader, {.threads = 2});
  return loader.takeTries();
}

void expectSameFiles(const kj::ReadableDirectory& golden, kj::StringPtr name,
                     kj::ArrayPtr<const kj::Own<const Trie>> tries) {
  for (unsigned threads : {1, 3, 16}) {
    SCOPED_TRACE(threads);
    ScratchFolder folder;
    auto filesystem = kj::newDiskFilesystem();
    auto directory = filesystem->getRoot().openSubdir(kj::Path::parse(folder.path().c_str() + 1),
                                                      kj::WriteMode::MODIFY);
    auto result = writeCheckpoint(*directory, name, tries, {.threads = threads});
    ASSERT_TRUE(result.is<WrittenCheckpoint>());
    expectSameFile(golden, *directory, name);
    for (unsigned part = 0; part < CHECKPOINT_PARTS; ++part) {
      expectSameFile(golden, *directory, checkpointPartName(name, part));
    }
    EXPECT_EQ(directory->listNames().size(), CHECKPOINT_PARTS + 1);
  }
}

}  // namespace ledger::testing
