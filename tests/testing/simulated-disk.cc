// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/simulated-disk.h"

#include "tests/testing/partial-filesystem.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ledger::testing {

namespace {

constexpr uint64_t BLOCK = 4096;       // What a disk loses or keeps as a whole.
constexpr uint64_t SHORT_WRITE = 256;  // Up to here, every cut is tried.

// Where a write of `length` bytes at `offset` may be cut.
std::vector<uint64_t> cutsOf(uint64_t offset, uint64_t length) {
  std::vector<uint64_t> cuts;
  if (length <= SHORT_WRITE) {
    for (uint64_t cut = 1; cut < length; ++cut) cuts.push_back(cut);
    return cuts;
  }
  // The first bytes hold a header of 7 in most files.
  cuts = {1, 6, 7, 8, length / 2, length - 1};
  for (uint64_t at = (offset / BLOCK + 1) * BLOCK; at < offset + length; at += BLOCK) {
    cuts.push_back(at - offset);
  }
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
  return cuts;
}

int errorOf(Operation operation) {
  return operation == Operation::CREATE || operation == Operation::WRITE ? ENOSPC : EIO;
}

}  // namespace

// --- One file ---

void SimulatedDisk::Edit::applyTo(std::string& bytes) const {
  if (truncates) {
    bytes.resize(offset);
    return;
  }
  if (bytes.size() < offset + data.size()) bytes.resize(offset + data.size());
  bytes.replace(offset, data.size(), data);
}

void SimulatedDisk::Content::edit(Edit edit) {
  edit.applyTo(bytes);
  edits.push_back(std::move(edit));
}

void SimulatedDisk::Content::sync() {
  synced = bytes;
  edits.clear();
}

std::vector<std::string> SimulatedDisk::Content::tornVersions() const {
  std::vector<std::string> versions;
  std::string before = synced;
  for (size_t i = 0; i < edits.size(); ++i) {
    const auto& edit = edits[i];
    if (!edit.truncates) {
      for (auto cut : cutsOf(edit.offset, edit.data.size())) {
        auto torn = before;
        Edit{false, edit.offset, edit.data.substr(0, cut)}.applyTo(torn);
        versions.push_back(std::move(torn));
      }
      // All but one block; and the length without a block.
      auto whole = before;
      edit.applyTo(whole);
      auto lose = [&](std::string& bytes, uint64_t from, uint64_t to) {
        for (uint64_t at = std::max(from, edit.offset);
             at < std::min(to, edit.offset + edit.data.size()); ++at) {
          bytes[at] = at < before.size() ? before[at] : '\0';
        }
      };
      for (uint64_t at = edit.offset - edit.offset % BLOCK; at < edit.offset + edit.data.size();
           at += BLOCK) {
        versions.push_back(whole);
        lose(versions.back(), at, at + BLOCK);
      }
      versions.push_back(whole);
      lose(versions.back(), 0, whole.size());
    }
    edit.applyTo(before);
    if (edits.size() == 1) break;
    if (i + 1 < edits.size()) versions.push_back(before);
    auto without = synced;
    for (size_t other = 0; other < edits.size(); ++other) {
      if (other != i) edits[other].applyTo(without);
    }
    versions.push_back(std::move(without));
  }
  return versions;
}

class SimulatedFile final : public PartialFile {
public:
  SimulatedFile(SimulatedDisk& disk, std::string name,
                std::shared_ptr<SimulatedDisk::Content> content)
      : disk(disk), name(std::move(name)), content(std::move(content)) {}

  Metadata stat() const override {
    std::lock_guard lock(disk.mutex);
    Metadata metadata;
    metadata.type = Type::FILE;
    metadata.size = content->bytes.size();
    return metadata;
  }
  void sync() const override { sync(Operation::SYNC); }
  void datasync() const override { sync(Operation::DATASYNC); }
  size_t read(uint64_t offset, kj::ArrayPtr<kj::byte> buffer) const override {
    std::lock_guard lock(disk.mutex);
    if (!disk.unreadable.empty() && name == disk.unreadable && offset <= disk.unreadableAt &&
        disk.unreadableAt < offset + buffer.size()) {
      KJ_FAIL_SYSCALL("injected fault", EIO);
    }
    if (offset >= content->bytes.size()) return 0;
    auto length = std::min<uint64_t>(buffer.size(), content->bytes.size() - offset);
    memcpy(buffer.begin(), content->bytes.data() + offset, length);
    return length;
  }
  void write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) const override {
    std::lock_guard lock(disk.mutex);
    auto put = [&](size_t length) {
      if (length == 0) return;
      content->edit({false, offset, std::string(data.asChars().begin(), length)});
    };
    disk.step(
        Operation::WRITE, name, [&](const DiskStep&) { put(data.size()); },
        [&]() { put(std::min(disk.shortWrite, data.size())); });
  }
  void truncate(uint64_t size) const override {
    std::lock_guard lock(disk.mutex);
    disk.step(Operation::TRUNCATE, name,
              [&](const DiskStep&) { content->edit({true, size, {}}); });
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<SimulatedFile>(disk, name, content);
  }

private:
  void sync(Operation operation) const {
    std::lock_guard lock(disk.mutex);
    disk.step(operation, name, [&](const DiskStep& step) {
      if (!disk.liesAbout(step)) content->sync();
    });
  }

  SimulatedDisk& disk;
  const std::string name;  // When it was opened; for labels.
  const std::shared_ptr<SimulatedDisk::Content> content;
};

// --- The directory ---

void SimulatedDisk::Change::applyTo(Names& names) const {
  if (!removed.empty()) names.erase(removed);
  if (!added.empty()) names[added] = content;
}

class SimulatedDirectory final : public PartialDirectory {
public:
  explicit SimulatedDirectory(SimulatedDisk& disk) : disk(disk) {}

  Metadata stat() const override {
    Metadata metadata;
    metadata.type = Type::DIRECTORY;
    return metadata;
  }
  void sync() const override {
    std::lock_guard lock(disk.mutex);
    disk.step(Operation::SYNC, "", [&](const DiskStep& step) { disk.syncDirectory(step); });
  }
  void datasync() const override { sync(); }

  kj::Array<kj::String> listNames() const override {
    std::lock_guard lock(disk.mutex);
    return KJ_MAP(entry, disk.names) {
      return kj::str(entry.first.c_str());
    };
  }
  kj::Maybe<Metadata> tryLstat(kj::PathPtr path) const override {
    std::lock_guard lock(disk.mutex);
    auto found = disk.names.find(name(path));
    if (found == disk.names.end()) return nullptr;
    Metadata metadata;
    metadata.type = Type::FILE;
    metadata.size = found->second->bytes.size();
    return metadata;
  }
  kj::Maybe<kj::Own<const kj::ReadableFile>> tryOpenFile(kj::PathPtr path) const override {
    std::lock_guard lock(disk.mutex);
    auto found = disk.names.find(name(path));
    if (found == disk.names.end()) return nullptr;
    return kj::Own<const kj::ReadableFile>(
        kj::heap<SimulatedFile>(disk, found->first, found->second));
  }
  kj::Maybe<kj::Own<const kj::File>> tryOpenFile(kj::PathPtr path,
                                                 kj::WriteMode mode) const override {
    std::lock_guard lock(disk.mutex);
    auto found = disk.names.find(name(path));
    if (found != disk.names.end()) {
      if (!kj::has(mode, kj::WriteMode::MODIFY)) return nullptr;
      return kj::Own<const kj::File>(kj::heap<SimulatedFile>(disk, found->first, found->second));
    }
    if (!kj::has(mode, kj::WriteMode::CREATE)) return nullptr;
    auto content = std::make_shared<SimulatedDisk::Content>();
    disk.step(Operation::CREATE, name(path), [&](const DiskStep& step) {
      disk.change({{}, name(path), content}, step);
    });
    return kj::Own<const kj::File>(kj::heap<SimulatedFile>(disk, name(path), content));
  }
  bool tryTransfer(kj::PathPtr toPath, kj::WriteMode toMode, const kj::Directory& fromDirectory,
                   kj::PathPtr fromPath, kj::TransferMode mode) const override {
    KJ_REQUIRE(&fromDirectory == this && mode == kj::TransferMode::MOVE &&
               toMode == (kj::WriteMode::CREATE | kj::WriteMode::MODIFY));
    std::lock_guard lock(disk.mutex);
    auto found = disk.names.find(name(fromPath));
    if (found == disk.names.end()) return false;
    auto content = found->second;
    disk.step(Operation::RENAME, name(toPath), [&](const DiskStep& step) {
      disk.change({name(fromPath), name(toPath), content}, step);
    });
    return true;
  }
  bool tryRemove(kj::PathPtr path) const override {
    std::lock_guard lock(disk.mutex);
    if (disk.names.count(name(path)) == 0) return false;
    disk.step(Operation::REMOVE, name(path), [&](const DiskStep& step) {
      disk.change({name(path), {}, nullptr}, step);
    });
    return true;
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<SimulatedDirectory>(disk);
  }

private:
  static std::string name(kj::PathPtr path) { return path.toString().cStr(); }

  SimulatedDisk& disk;
};

// --- Steps ---

bool SimulatedDisk::fails(const DiskStep& step) const {
  if (failStep == NEVER) return false;
  switch (fault) {
    case Fault::ONE_STEP:
    case Fault::ONE_STEP_LATE: return step.number == failStep;
    case Fault::ALL_FROM_A_STEP: return step.number >= failStep;
    case Fault::FULL_FROM_A_STEP:
      return step.number >= failStep && errorOf(step.operation) == ENOSPC;
  }
  KJ_UNREACHABLE;
}

bool SimulatedDisk::liesAbout(const DiskStep& step) const {
  if (step.number == lieStep) return true;
  if (!step.isSync()) return false;
  return honesty == (step.name.empty() ? Sync::DIRECTORY_LIES : Sync::FILES_LIE);
}

template <typename Make>
void SimulatedDisk::step(Operation operation, const std::string& name, Make&& make) {
  step(operation, name, make, []() {});
}

template <typename Make, typename FallShort>
void SimulatedDisk::step(Operation operation, const std::string& name, Make&& make,
                         FallShort&& fallShort) {
  DiskStep step{steps, operation, name, {}};
  if (step.isSync() && name.empty()) step.after = lastChange;
  observer(step);
  ++steps;
  if (crashStep != NEVER && step.number >= crashStep) {
    KJ_FAIL_SYSCALL("injected crash", EIO, step.label().c_str(), step.number);
  }
  const bool chosen = fails(step);
  if (chosen && fault != Fault::ONE_STEP_LATE) {
    fallShort();
    KJ_FAIL_SYSCALL("injected fault", errorOf(operation), step.label().c_str(), step.number);
  }
  make(step);
  if (chosen) KJ_FAIL_SYSCALL("injected fault, late", EIO, step.label().c_str(), step.number);
}

void SimulatedDisk::change(Change change, const DiskStep& step) {
  lastChange = step.label();
  change.applyTo(names);
  if (!liesAbout(step)) {
    pending.push_back(std::move(change));
    return;
  }
  durable = durableBefore;
  change.applyTo(durable);
  pending.insert(pending.begin(), pendingBefore.begin(), pendingBefore.end());
  pendingBefore.clear();
}

void SimulatedDisk::syncDirectory(const DiskStep& step) {
  if (liesAbout(step)) return;
  durableBefore = std::exchange(durable, names);
  pendingBefore = std::exchange(pending, {});
}

SimulatedDisk::SimulatedDisk(const FileBytes& files) {
  for (auto& [name, bytes] : files) {
    durable[name] = std::make_shared<Content>(Content{bytes, bytes, {}});
  }
  names = durable;
  durableBefore = durable;
}

kj::Own<const kj::Directory> SimulatedDisk::directory() {
  return kj::heap<SimulatedDirectory>(*this);
}

int SimulatedDisk::stepsTaken() const {
  std::lock_guard lock(mutex);
  return steps;
}

void SimulatedDisk::failAt(int step, Fault how, size_t written) {
  std::lock_guard lock(mutex);
  failStep = step;
  fault = how;
  shortWrite = written;
}

void SimulatedDisk::crashAt(int step) {
  std::lock_guard lock(mutex);
  crashStep = step;
}

void SimulatedDisk::failReads(const std::string& name, uint64_t offset) {
  std::lock_guard lock(mutex);
  unreadable = name;
  unreadableAt = offset;
}

void SimulatedDisk::lieAt(int step) {
  std::lock_guard lock(mutex);
  lieStep = step;
}

void SimulatedDisk::lieAbout(Sync which) {
  std::lock_guard lock(mutex);
  honesty = which;
}

void SimulatedDisk::onStep(kj::Function<void(const DiskStep&)> call) {
  std::lock_guard lock(mutex);
  observer = kj::mv(call);
}

// --- What there is, and what would be left ---

bool SimulatedDisk::isSynced(const std::string& name) const {
  std::lock_guard lock(mutex);
  auto found = names.find(name);
  return found == names.end() || found->second->edits.empty();
}

FileBytes SimulatedDisk::now() const {
  std::lock_guard lock(mutex);
  FileBytes files;
  for (auto& [name, content] : names) files[name] = content->bytes;
  return files;
}

std::vector<FileBytes> SimulatedDisk::afterCrash(Tears tears) const {
  std::lock_guard lock(mutex);
  std::vector<FileBytes> possible;
  // With the files' certain content, and, if that is another one, with all.
  auto add = [&](const Names& names) {
    FileBytes certain, all;
    for (auto& [name, content] : names) {
      certain[name] = content->synced;
      if (!content->edits.empty()) all[name] = content->bytes;
    }
    possible.push_back(certain);
    if (all.empty()) return;
    for (auto& [name, bytes] : all) certain[name] = std::move(bytes);
    possible.push_back(std::move(certain));
  };
  auto addTorn = [&](const Names& names) {
    FileBytes certain;
    for (auto& [name, content] : names) certain[name] = content->synced;
    for (auto& [name, content] : names) {
      const auto kind = kindOf(name);
      // Nobody reads what has a temporary name.
      if (kind >= FileKind::TEMPORARY_PART && kind <= FileKind::TEMPORARY_HEADER) continue;
      for (auto& version : content->tornVersions()) {
        possible.push_back(certain);
        possible.back()[name] = std::move(version);
      }
    }
  };

  add(durable);
  if (tears == Tears::FINE) addTorn(durable);
  if (pending.empty()) return possible;
  add(names);
  if (tears == Tears::FINE) addTorn(names);
  if (pending.size() == 1) return possible;
  auto addChanges = [&](auto&& isKept) {
    auto names = durable;
    for (size_t i = 0; i < pending.size(); ++i) {
      if (isKept(i)) pending[i].applyTo(names);
    }
    add(names);
  };
  for (size_t chosen = 0; chosen < pending.size(); ++chosen) {
    addChanges([&](size_t i) { return i == chosen; });
    if (tears == Tears::COARSE) continue;
    addChanges([&](size_t i) { return i != chosen; });
    addChanges([&](size_t i) { return i <= chosen; });
  }
  return possible;
}

}  // namespace ledger::testing
