// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/writer-testing.h"

#include <kj/debug.h>

#include <cstring>
#include <functional>

namespace ledger::testing {
namespace {

std::string text(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

std::string recordOf(const Store& store, NodeRef node, unsigned height, uint64_t left,
                     uint64_t right) {
  auto hash = text(store.nodes.hash(node).ptr());
  if (!node.isLeaf()) return interiorRecord(height, hash, left, right);
  auto payload = store.payload(node);
  std::string bytes;
  if (payload.exists()) {
    auto key = text(payload.key());
    if (key.empty()) key = std::string(2, '\0');
    bytes = bigEndian(key.size(), 4) + key + bigEndian(payload.value().size(), 4) +
            text(payload.value());
  }
  return leafRecord(height, hash, text(payload.path().ptr()), bytes);
}

}  // namespace

CheckpointParts simpleCheckpoint(kj::ArrayPtr<const kj::Own<const Trie>> tries) {
  const auto& store = tries[0]->store();
  CheckpointParts result;
  std::map<uint64_t, uint64_t> numbers;  // By slot; global.
  uint64_t before = 0;                   // Nodes of the parts before.
  std::vector<std::string> records;

  // Writes what is at and below `node` to the current part. `lowest` is the lowest height of it.
  std::function<uint64_t(NodeRef, unsigned, unsigned)> visit = [&](NodeRef node, unsigned height,
                                                                   unsigned lowest) -> uint64_t {
    if (node.isNull()) return 0;
    if (numbers.count(node.slot()) > 0) return numbers[node.slot()];
    KJ_ASSERT(height >= lowest);
    uint64_t left = 0, right = 0;
    if (!node.isLeaf()) {
      left = visit(store.nodes.interior(node).left, height - 1, lowest);
      right = visit(store.nodes.interior(node).right, height - 1, lowest);
    }
    auto local = [&](uint64_t number) {
      return number == 0 || lowest > 0 ? number : number - before;
    };
    records.push_back(recordOf(store, node, height, local(left), local(right)));
    return numbers[node.slot()] = before + records.size();
  };

  for (unsigned part = 0; part < CHECKPOINT_SUBTRIES; ++part) {
    records.clear();
    for (const auto& trie : tries) {
      auto node = trie->root();
      for (int bit = 3; bit >= 0 && !node.isNull(); --bit) {
        if (node.isLeaf()) {
          node = {};
          break;
        }
        const auto& interior = store.nodes.interior(node);
        node = part >> bit & 1 ? interior.right : interior.left;
      }
      visit(node, CHECKPOINT_SUBTRIE_HEIGHT, 0);
    }
    result.bytes[part] = subtriePart(records);
    before += records.size();
  }
  records.clear();
  std::vector<std::string> trieRecords;
  for (const auto& trie : tries) {
    auto root = visit(trie->root(), TRIE_HEIGHT, CHECKPOINT_SUBTRIE_HEIGHT + 1);
    trieRecords.push_back(
        trieRecord(root, trie->size().registers, trie->size().bytes, text(trie->rootHash().ptr())));
  }
  result.bytes[CHECKPOINT_TOP_PART] = topPart(before, records, trieRecords);
  return result;
}

// --- The disk ---

template <typename Make>
void CrashingDisk::step(const char* what, Make&& make) {
  auto number = steps++;
  bool chosen = fault == Fault::ALL_FROM_A_STEP ? failStep != NEVER && number >= failStep
                                                : number == failStep;
  if (crashStep != NEVER && number >= crashStep) {
    KJ_FAIL_REQUIRE("injected crash", what, number);
  }
  if (chosen && fault != Fault::ONE_STEP_LATE) KJ_FAIL_REQUIRE("injected fault", what, number);
  make();
  if (chosen) KJ_FAIL_REQUIRE("injected fault, late", what, number);
}

void CrashingDisk::apply(Names& names, const Change& change) const {
  if (!change.removed.empty()) names.erase(change.removed);
  if (!change.added.empty()) names[change.added] = change.content;
}

void CrashingDisk::change(Change change) {
  apply(names, change);
  pending.push_back(std::move(change));
}

class CrashingFile final : public kj::File {
public:
  CrashingFile(CrashingDisk& disk, std::shared_ptr<CrashingDisk::Content> content)
      : disk(disk), content(std::move(content)) {}

  Metadata stat() const override {
    std::lock_guard lock(disk.mutex);
    Metadata metadata;
    metadata.type = Type::FILE;
    metadata.size = content->bytes.size();
    return metadata;
  }
  void sync() const override {
    std::lock_guard lock(disk.mutex);
    disk.step("fsync", [&]() {
      if (disk.honesty != CrashingDisk::Sync::FILES_LIE) content->synced = content->bytes;
    });
  }
  void datasync() const override { sync(); }
  size_t read(uint64_t offset, kj::ArrayPtr<kj::byte> buffer) const override {
    std::lock_guard lock(disk.mutex);
    if (offset >= content->bytes.size()) return 0;
    auto length = std::min<uint64_t>(buffer.size(), content->bytes.size() - offset);
    memcpy(buffer.begin(), content->bytes.data() + offset, length);
    return length;
  }
  void write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) const override {
    std::lock_guard lock(disk.mutex);
    disk.step("write", [&]() {
      if (content->bytes.size() < offset + data.size()) content->bytes.resize(offset + data.size());
      memcpy(content->bytes.data() + offset, data.begin(), data.size());
    });
  }
  kj::Array<const kj::byte> mmap(uint64_t, uint64_t) const override { KJ_UNIMPLEMENTED("mmap"); }
  kj::Array<kj::byte> mmapPrivate(uint64_t, uint64_t) const override { KJ_UNIMPLEMENTED("mmap"); }
  void zero(uint64_t, uint64_t) const override { KJ_UNIMPLEMENTED("zero"); }
  void truncate(uint64_t) const override { KJ_UNIMPLEMENTED("truncate"); }
  kj::Own<const kj::WritableFileMapping> mmapWritable(uint64_t, uint64_t) const override {
    KJ_UNIMPLEMENTED("mmap");
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<CrashingFile>(disk, content);
  }

private:
  CrashingDisk& disk;
  std::shared_ptr<CrashingDisk::Content> content;
};

class CrashingDirectory final : public kj::Directory {
public:
  explicit CrashingDirectory(CrashingDisk& disk) : disk(disk) {}

  Metadata stat() const override {
    Metadata metadata;
    metadata.type = Type::DIRECTORY;
    return metadata;
  }
  void sync() const override {
    std::lock_guard lock(disk.mutex);
    disk.step("fsync of the directory", [&]() {
      if (disk.honesty == CrashingDisk::Sync::DIRECTORY_LIES) return;
      disk.durable = disk.names;
      disk.pending.clear();
    });
  }
  void datasync() const override { sync(); }

  kj::Array<kj::String> listNames() const override {
    std::lock_guard lock(disk.mutex);
    return KJ_MAP(entry, disk.names) {
      return kj::str(entry.first.c_str());
    };
  }
  bool exists(kj::PathPtr path) const override { return tryLstat(path) != nullptr; }
  kj::Maybe<Metadata> tryLstat(kj::PathPtr path) const override {
    std::lock_guard lock(disk.mutex);
    if (disk.names.count(name(path)) == 0) return nullptr;
    Metadata metadata;
    metadata.type = Type::FILE;
    return metadata;
  }
  kj::Maybe<kj::Own<const kj::ReadableFile>> tryOpenFile(kj::PathPtr path) const override {
    std::lock_guard lock(disk.mutex);
    auto found = disk.names.find(name(path));
    if (found == disk.names.end()) return nullptr;
    return kj::Own<const kj::ReadableFile>(kj::heap<CrashingFile>(disk, found->second));
  }
  kj::Maybe<kj::Own<const kj::File>> tryOpenFile(kj::PathPtr path,
                                                 kj::WriteMode mode) const override {
    KJ_REQUIRE(mode == (kj::WriteMode::CREATE | kj::WriteMode::PRIVATE));
    std::lock_guard lock(disk.mutex);
    if (disk.names.count(name(path)) > 0) return nullptr;
    auto content = std::make_shared<CrashingDisk::Content>();
    disk.step("creat", [&]() { disk.change({{}, name(path), content}); });
    return kj::Own<const kj::File>(kj::heap<CrashingFile>(disk, content));
  }
  bool tryTransfer(kj::PathPtr toPath, kj::WriteMode toMode, const kj::Directory& fromDirectory,
                   kj::PathPtr fromPath, kj::TransferMode mode) const override {
    KJ_REQUIRE(&fromDirectory == this && mode == kj::TransferMode::MOVE &&
               toMode == (kj::WriteMode::CREATE | kj::WriteMode::MODIFY));
    std::lock_guard lock(disk.mutex);
    auto found = disk.names.find(name(fromPath));
    if (found == disk.names.end()) return false;
    auto content = found->second;
    disk.step("rename", [&]() { disk.change({name(fromPath), name(toPath), content}); });
    return true;
  }
  bool tryRemove(kj::PathPtr path) const override {
    std::lock_guard lock(disk.mutex);
    if (disk.names.count(name(path)) == 0) return false;
    disk.step("unlink", [&]() { disk.change({name(path), {}, nullptr}); });
    return true;
  }

  kj::Array<Entry> listEntries() const override { KJ_UNIMPLEMENTED("listEntries"); }
  kj::Maybe<kj::Own<const kj::ReadableDirectory>> tryOpenSubdir(kj::PathPtr) const override {
    KJ_UNIMPLEMENTED("subdir");
  }
  kj::Maybe<kj::String> tryReadlink(kj::PathPtr) const override { KJ_UNIMPLEMENTED("readlink"); }
  kj::Own<Replacer<kj::File>> replaceFile(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("replaceFile");
  }
  kj::Own<const kj::File> createTemporary() const override { KJ_UNIMPLEMENTED("createTemporary"); }
  kj::Maybe<kj::Own<kj::AppendableFile>> tryAppendFile(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("tryAppendFile");
  }
  kj::Maybe<kj::Own<const kj::Directory>> tryOpenSubdir(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("subdir");
  }
  kj::Own<Replacer<kj::Directory>> replaceSubdir(kj::PathPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("replaceSubdir");
  }
  bool trySymlink(kj::PathPtr, kj::StringPtr, kj::WriteMode) const override {
    KJ_UNIMPLEMENTED("symlink");
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<CrashingDirectory>(disk);
  }

private:
  static std::string name(kj::PathPtr path) { return path.toString().cStr(); }

  CrashingDisk& disk;
};

CrashingDisk::CrashingDisk(const FileBytes& files) {
  for (auto& [name, bytes] : files) {
    durable[name] = std::make_shared<Content>(Content{bytes, bytes});
  }
  names = durable;
}

kj::Own<const kj::Directory> CrashingDisk::directory() {
  return kj::heap<CrashingDirectory>(*this);
}

void CrashingDisk::failAt(int step, Fault how) {
  failStep = step;
  fault = how;
}

FileBytes CrashingDisk::now() const {
  std::lock_guard lock(mutex);
  FileBytes files;
  for (auto& [name, content] : names) files[name] = content->bytes;
  return files;
}

FileBytes CrashingDisk::onDisk(const Names& names) {
  FileBytes files;
  for (auto& [name, content] : names) files[name] = content->synced;
  return files;
}

std::vector<FileBytes> CrashingDisk::afterCrash() const {
  std::lock_guard lock(mutex);
  std::vector<FileBytes> possible = {onDisk(durable), onDisk(names)};
  for (const auto& change : pending) {
    auto names = durable;
    apply(names, change);
    possible.push_back(onDisk(names));
  }
  return possible;
}

kj::Own<const kj::Directory> asDirectory(const FileBytes& files) {
  auto directory = kj::newInMemoryDirectory(kj::nullClock());
  for (auto& [name, bytes] : files) {
    directory->openFile(kj::Path(name.c_str()), kj::WriteMode::CREATE)
        ->writeAll(kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
  }
  return directory;
}

FileBytes filesOf(const CheckpointParts& parts, kj::StringPtr name) {
  auto directory = kj::newInMemoryDirectory(kj::nullClock());
  parts.store(*directory, name);
  FileBytes files;
  for (auto& file : directory->listNames()) {
    files[file.cStr()] = text(directory->openFile(kj::Path(file))->readAllBytes());
  }
  return files;
}

}  // namespace ledger::testing
