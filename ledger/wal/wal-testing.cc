// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/wal-testing.h"

#include <kj/debug.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace ledger::testing {
namespace {

// True if this call is to fail.
bool trip(int& countdown) {
  if (countdown < 0) return false;
  if (countdown == 0) return true;
  --countdown;
  return false;
}

class FaultyFile final : public kj::File {
public:
  FaultyFile(kj::Own<const kj::File> inner, Faults& faults)
      : inner(kj::mv(inner)), faults(faults) {}

  Metadata stat() const override { return inner->stat(); }
  void sync() const override {
    KJ_REQUIRE(!trip(faults.syncs), "injected fault: fsync");
    inner->sync();
  }
  void datasync() const override {
    ++std::atomic_ref<int>(faults.datasyncCount);
    KJ_REQUIRE(!trip(faults.datasyncs), "injected fault: fdatasync");
    inner->datasync();
  }
  size_t read(uint64_t offset, kj::ArrayPtr<kj::byte> buffer) const override {
    return inner->read(offset, buffer);
  }
  kj::Array<const kj::byte> mmap(uint64_t offset, uint64_t size) const override {
    return inner->mmap(offset, size);
  }
  kj::Array<kj::byte> mmapPrivate(uint64_t offset, uint64_t size) const override {
    return inner->mmapPrivate(offset, size);
  }
  void write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) const override {
    ++faults.writeCount;
    if (trip(faults.writes)) {
      inner->write(offset, data.slice(0, kj::min(faults.shortWrite, data.size())));
      KJ_FAIL_REQUIRE("injected fault: no space left on device");
    }
    inner->write(offset, data);
  }
  void zero(uint64_t offset, uint64_t size) const override { inner->zero(offset, size); }
  void truncate(uint64_t size) const override {
    KJ_REQUIRE(!trip(faults.truncates), "injected fault: ftruncate");
    inner->truncate(size);
  }
  kj::Own<const kj::WritableFileMapping> mmapWritable(uint64_t offset,
                                                      uint64_t size) const override {
    return inner->mmapWritable(offset, size);
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<FaultyFile>(inner->clone(), faults);
  }

private:
  kj::Own<const kj::File> inner;
  Faults& faults;
};

class FaultyDirectory final : public kj::Directory {
public:
  FaultyDirectory(kj::Own<const kj::Directory> inner, Faults& faults)
      : inner(kj::mv(inner)), faults(faults) {}

  Metadata stat() const override { return inner->stat(); }
  void sync() const override {
    ++faults.directorySyncCount;
    KJ_REQUIRE(!trip(faults.syncs), "injected fault: fsync of the directory");
    inner->sync();
  }
  void datasync() const override { sync(); }

  kj::Array<kj::String> listNames() const override { return inner->listNames(); }
  kj::Array<Entry> listEntries() const override { return inner->listEntries(); }
  bool exists(kj::PathPtr path) const override { return inner->exists(path); }
  kj::Maybe<Metadata> tryLstat(kj::PathPtr path) const override { return inner->tryLstat(path); }
  kj::Maybe<kj::Own<const kj::ReadableFile>> tryOpenFile(kj::PathPtr path) const override {
    return inner->tryOpenFile(path);
  }
  kj::Maybe<kj::Own<const kj::ReadableDirectory>> tryOpenSubdir(kj::PathPtr path) const override {
    return inner->tryOpenSubdir(path);
  }
  kj::Maybe<kj::String> tryReadlink(kj::PathPtr path) const override {
    return inner->tryReadlink(path);
  }
  kj::Maybe<kj::Own<const kj::File>> tryOpenFile(kj::PathPtr path,
                                                 kj::WriteMode mode) const override {
    KJ_REQUIRE(!kj::has(mode, kj::WriteMode::CREATE) || !trip(faults.creates),
               "injected fault: creat");
    KJ_IF_MAYBE (file, inner->tryOpenFile(path, mode)) {
      return kj::Own<const kj::File>(kj::heap<FaultyFile>(kj::mv(*file), faults));
    }
    return nullptr;
  }
  kj::Own<Replacer<kj::File>> replaceFile(kj::PathPtr path, kj::WriteMode mode) const override {
    return inner->replaceFile(path, mode);
  }
  kj::Own<const kj::File> createTemporary() const override { return inner->createTemporary(); }
  kj::Maybe<kj::Own<kj::AppendableFile>> tryAppendFile(kj::PathPtr path,
                                                       kj::WriteMode mode) const override {
    return inner->tryAppendFile(path, mode);
  }
  kj::Maybe<kj::Own<const kj::Directory>> tryOpenSubdir(kj::PathPtr path,
                                                        kj::WriteMode mode) const override {
    return inner->tryOpenSubdir(path, mode);
  }
  kj::Own<Replacer<kj::Directory>> replaceSubdir(kj::PathPtr path,
                                                 kj::WriteMode mode) const override {
    return inner->replaceSubdir(path, mode);
  }
  bool trySymlink(kj::PathPtr linkpath, kj::StringPtr content, kj::WriteMode mode) const override {
    return inner->trySymlink(linkpath, content, mode);
  }
  bool tryTransfer(kj::PathPtr toPath, kj::WriteMode toMode, const kj::Directory& fromDirectory,
                   kj::PathPtr fromPath, kj::TransferMode mode) const override {
    return inner->tryTransfer(toPath, toMode, fromDirectory, fromPath, mode);
  }
  bool tryRemove(kj::PathPtr path) const override {
    KJ_REQUIRE(!trip(faults.removes), "injected fault: unlink");
    return inner->tryRemove(path);
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<FaultyDirectory>(inner->clone(), faults);
  }

private:
  kj::Own<const kj::Directory> inner;
  Faults& faults;
};

}  // namespace

std::string pattern(size_t size, unsigned seed) {
  std::string text(size, '\0');
  uint32_t state = seed * 2654435761u + 1;
  for (auto& c : text) {
    state = state * 1664525u + 1013904223u;
    c = static_cast<char>(0x20 | state >> 25);  // Never 1 to 4, a fragment's type.
  }
  return text;
}

kj::Own<const kj::Directory> newDirectory() {
  return kj::newInMemoryDirectory(kj::nullClock());
}

void writeFile(const kj::Directory& directory, kj::StringPtr name, const std::string& bytes) {
  auto file = directory.openFile(kj::Path(name), kj::WriteMode::CREATE | kj::WriteMode::MODIFY);
  file->truncate(0);
  file->write(0, asBytes(bytes));
}

std::string readFile(const kj::ReadableDirectory& directory, kj::StringPtr name) {
  return asString(directory.openFile(kj::Path(name))->readAllBytes());
}

std::vector<std::string> fileNames(const kj::ReadableDirectory& directory) {
  std::vector<std::string> names;
  for (auto& name : directory.listNames()) names.push_back(name.cStr());
  std::sort(names.begin(), names.end());
  return names;
}

kj::Maybe<kj::Own<const kj::ReadableDirectory>> goldenDirectory(kj::StringPtr path) {
  const char* root = getenv("LEDGERD_GOLDEN");
  if (root == nullptr) return nullptr;
  auto filesystem = kj::newDiskFilesystem();
  auto full = filesystem->getCurrentPath().evalNative(kj::str(root, "/", path));
  return filesystem->getRoot().openSubdir(full);
}

ReadLog readLog(const kj::ReadableDirectory& directory) {
  ReadLog log;
  auto segments = listWalSegments(directory);
  WalReader reader(directory, segments);
  for (;;) {
    KJ_IF_MAYBE (record, reader.next()) {
      log.records.push_back(asString(record->bytes));
      log.starts.push_back(record->start);
      log.ends.push_back(record->end);
    } else {
      break;
    }
  }
  KJ_IF_MAYBE (damage, reader.damage()) {
    log.damage = WalDamage{damage->at, kj::str(damage->reason), damage->goodEnd, damage->inRecord};
  } else {
    KJ_ASSERT(reader.bytesDone() == reader.bytesTotal());
  }
  return log;
}

void writeLog(const kj::Directory& directory, const std::vector<std::string>& records,
              uint64_t segmentSize) {
  WalWriter writer(directory.clone(), {.segmentSize = segmentSize});
  for (auto& record : records) {
    writer.append(asBytes(record));
    writer.commit();
  }
  writer.close();
}

kj::Own<const kj::Directory> newFaultyDirectory(kj::Own<const kj::Directory> inner,
                                                Faults& faults) {
  return kj::heap<FaultyDirectory>(kj::mv(inner), faults);
}

}  // namespace ledger::testing
