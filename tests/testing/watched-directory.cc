// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/watched-directory.h"

#include "tests/testing/partial-filesystem.h"

#include <memory>
#include <mutex>
#include <string>

namespace ledger::testing {

namespace {

// Shared by a directory and its files.
class Watch {
public:
  explicit Watch(StepWatcher& watcher) : watcher(watcher) {}

  template <typename Make>
  auto step(Operation operation, std::string name, Make&& make) {
    DiskStep step{0, operation, std::move(name), {}};
    {
      std::lock_guard lock(mutex);
      step.number = next++;
      if (step.kind() != FileKind::DIRECTORY) {
        if (changesNames(operation)) lastChange = step.label();
      } else {
        step.after = lastChange;
      }
    }
    watcher.before(step);
    struct After {  // Also where `make` returns something.
      Watch& watch;
      const DiskStep& step;
      ~After() { watch.watcher.after(step); }
    } after{*this, step};
    return make();
  }

private:
  static bool changesNames(Operation operation) {
    return operation == Operation::CREATE || operation == Operation::RENAME ||
           operation == Operation::REMOVE;
  }

  StepWatcher& watcher;
  std::mutex mutex;
  int next = 0;
  std::string lastChange;
};

class WatchedFile final : public PartialFile {
public:
  WatchedFile(kj::Own<const kj::File> inner, std::string name, std::shared_ptr<Watch> watch)
      : inner(kj::mv(inner)), name(std::move(name)), watch(std::move(watch)) {}

  kj::Maybe<int> getFd() const override { return inner->getFd(); }
  Metadata stat() const override { return inner->stat(); }
  void sync() const override {
    watch->step(Operation::SYNC, name, [&]() { inner->sync(); });
  }
  void datasync() const override {
    watch->step(Operation::DATASYNC, name, [&]() { inner->datasync(); });
  }
  size_t read(uint64_t offset, kj::ArrayPtr<kj::byte> buffer) const override {
    return inner->read(offset, buffer);
  }
  void write(uint64_t offset, kj::ArrayPtr<const kj::byte> data) const override {
    watch->step(Operation::WRITE, name, [&]() { inner->write(offset, data); });
  }
  void truncate(uint64_t size) const override {
    watch->step(Operation::TRUNCATE, name, [&]() { inner->truncate(size); });
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<WatchedFile>(inner->clone(), name, watch);
  }

private:
  const kj::Own<const kj::File> inner;
  const std::string name;
  const std::shared_ptr<Watch> watch;
};

class WatchedDirectory final : public PartialDirectory {
public:
  WatchedDirectory(kj::Own<const kj::Directory> inner, std::shared_ptr<Watch> watch)
      : inner(kj::mv(inner)), watch(std::move(watch)) {}

  kj::Maybe<int> getFd() const override { return inner->getFd(); }
  Metadata stat() const override { return inner->stat(); }
  void sync() const override {
    watch->step(Operation::SYNC, "", [&]() { inner->sync(); });
  }
  void datasync() const override { sync(); }
  kj::Array<kj::String> listNames() const override { return inner->listNames(); }
  kj::Maybe<Metadata> tryLstat(kj::PathPtr path) const override { return inner->tryLstat(path); }
  // What is opened for reading is not watched: a sync of it is no step.
  kj::Maybe<kj::Own<const kj::ReadableFile>> tryOpenFile(kj::PathPtr path) const override {
    return inner->tryOpenFile(path);
  }
  kj::Maybe<kj::Own<const kj::File>> tryOpenFile(kj::PathPtr path,
                                                 kj::WriteMode mode) const override {
    auto open = [&]() { return inner->tryOpenFile(path, mode); };
    auto file = kj::has(mode, kj::WriteMode::CREATE)
                    ? watch->step(Operation::CREATE, name(path), open)
                    : open();
    KJ_IF_MAYBE (opened, file) {
      return kj::Own<const kj::File>(kj::heap<WatchedFile>(kj::mv(*opened), name(path), watch));
    }
    return nullptr;
  }
  bool tryTransfer(kj::PathPtr toPath, kj::WriteMode toMode, const kj::Directory& fromDirectory,
                   kj::PathPtr fromPath, kj::TransferMode mode) const override {
    KJ_REQUIRE(&fromDirectory == this);
    return watch->step(Operation::RENAME, name(toPath), [&]() {
      return inner->tryTransfer(toPath, toMode, *inner, fromPath, mode);
    });
  }
  bool tryRemove(kj::PathPtr path) const override {
    return watch->step(Operation::REMOVE, name(path), [&]() { return inner->tryRemove(path); });
  }

protected:
  kj::Own<const kj::FsNode> cloneFsNode() const override {
    return kj::heap<WatchedDirectory>(inner->clone(), watch);
  }

private:
  static std::string name(kj::PathPtr path) { return path.toString().cStr(); }

  const kj::Own<const kj::Directory> inner;
  const std::shared_ptr<Watch> watch;
};

}  // namespace

kj::Own<const kj::Directory> watchSteps(kj::Own<const kj::Directory> inner, StepWatcher& watcher) {
  return kj::heap<WatchedDirectory>(kj::mv(inner), std::make_shared<Watch>(watcher));
}

}  // namespace ledger::testing
