// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests of the checkpoint writer: a disk that can fail and forget, and the bytes of a
// checkpoint worked out in the simplest way.

#include "ledger/checkpoint/checkpoint-testing.h"
#include "ledger/trie/trie.h"

#include <kj/array.h>
#include <kj/filesystem.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace ledger::testing {

// The checkpoint of `tries` by the letter of the format: every node is looked up among all those
// written before.
CheckpointParts simpleCheckpoint(kj::ArrayPtr<const kj::Own<const Trie>> tries);

using FileBytes = std::map<std::string, std::string>;  // By name.

// A directory whose contents are in memory, and a second time as the disk under it would have them
// after a crash. Thread: may be used by several at once.
class CrashingDisk final {
public:
  enum class Fault {
    ONE_STEP,         // One step fails and is not made.
    ONE_STEP_LATE,    // One step is made and said to have failed.
    ALL_FROM_A_STEP,  // As after a crash, or a disk that died.
  };
  static constexpr int NEVER = -1;

  CrashingDisk() = default;
  explicit CrashingDisk(const FileBytes& durable);

  // Refers to this object.
  kj::Own<const kj::Directory> directory();

  // Every creation, write, sync, rename and removal is a step. The first is number 0.
  int stepsTaken() const { return steps; }
  void failAt(int step, Fault how);
  void crashAt(int step) { crashStep = step; }  // ALL_FROM_A_STEP, in addition.

  // Syncs that do nothing, to see whether a test would notice.
  enum class Sync { HONEST, DIRECTORY_LIES, FILES_LIE };
  void lieAbout(Sync which) { honesty = which; }

  FileBytes now() const;
  // What a crash at this moment may leave: what is certain; that and all changes; that and each
  // single change since the directory was last synced.
  std::vector<FileBytes> afterCrash() const;

private:
  friend class CrashingFile;
  friend class CrashingDirectory;
  struct Content {
    std::string bytes;
    std::string synced;
  };
  using Names = std::map<std::string, std::shared_ptr<Content>>;
  struct Change {
    std::string removed;  // Empty: none.
    std::string added;    // Empty: none.
    std::shared_ptr<Content> content;
  };

  // Runs `make` as a step, under the lock.
  template <typename Make>
  void step(const char* what, Make&& make);
  void apply(Names& names, const Change& change) const;
  void change(Change change);
  static FileBytes onDisk(const Names& names);

  mutable std::mutex mutex;  // Over all below.
  Names names;               // As programs see them.
  Names durable;
  std::vector<Change> pending;
  int steps = 0;
  int failStep = NEVER;
  int crashStep = NEVER;
  Fault fault = Fault::ONE_STEP;
  Sync honesty = Sync::HONEST;
};

// As files of an ordinary directory in memory.
kj::Own<const kj::Directory> asDirectory(const FileBytes& files);

// With a checkpoint of this name, as written by store().
FileBytes filesOf(const CheckpointParts& parts, kj::StringPtr name);

}  // namespace ledger::testing
