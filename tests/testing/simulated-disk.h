// SPDX-License-Identifier: Apache-2.0
#pragma once
// A directory on a disk that fails, fills up, dies, lies and loses power on demand.
//
// Everything that changes the directory is a numbered step. Files are in memory as programs see
// them; what a crash would leave is worked out from what was synced and what was done since.
//
// Assumed of a disk: what was synced stays. Since then, bytes of a file may be there or not, cut
// anywhere, and by blocks in any order (a missing one reads as before, or as zeros beyond the old
// end); each change of a name (creation, rename, removal) may be there or not, by itself, until the
// directory is synced. To sync a file does not keep its name. A rename is never half done.

#include "tests/testing/disk-step.h"

#include <kj/filesystem.h>
#include <kj/function.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace ledger::testing {

using FileBytes = std::map<std::string, std::string>;  // By name.

// Thread: may be used by several at once.
class SimulatedDisk final {
public:
  enum class Fault {
    ONE_STEP,         // One step fails and is not made.
    ONE_STEP_LATE,    // One step is made and said to have failed.
    ALL_FROM_A_STEP,  // As after a crash, or a disk that died.
    FULL_FROM_A_STEP  // Creations and writes fail from there on; other steps do not.
  };
  static constexpr int NEVER = -1;

  SimulatedDisk() = default;
  explicit SimulatedDisk(const FileBytes& durable);
  KJ_DISALLOW_COPY(SimulatedDisk);

  // Refers to this object. Not on disk, so nobody locks it.
  kj::Own<const kj::Directory> directory();

  int stepsTaken() const;

  // `written`: how many bytes a write that fails brings into the file all the same.
  void failAt(int step, Fault how, size_t written = 0);
  void crashAt(int step);  // ALL_FROM_A_STEP, in addition.

  // Every read that touches byte `offset` of this file fails, until another is chosen. An empty
  // name: none does.
  void failReads(const std::string& name, uint64_t offset = 0);

  // A sync that does nothing, though the program believes it. Or a rename that is on disk at once
  // and overtakes the changes of names before it, as if the directory's last sync had not been.
  void lieAt(int step);
  // All syncs of a sort.
  enum class Sync { HONEST, DIRECTORY_LIES, FILES_LIE };
  void lieAbout(Sync which);

  // Called before each step, on the thread that makes it, while others wait for the disk. It may
  // look at the disk, and change what is to fail.
  void onStep(kj::Function<void(const DiskStep&)> call);

  FileBytes now() const;

  // Whether all bytes of that file are on disk for certain, or it is not there.
  bool isSynced(const std::string& name) const;

  // What a crash at this moment may leave. COARSE: what is certain; that and all changes; that and
  // each single change of a name; each with nothing of what was not synced in files, and with all.
  // FINE: also all changes but one, the changes up to each one, and, with what is certain and with
  // all changes, each file torn in the ways that tornVersions() has.
  enum class Tears { COARSE, FINE };
  std::vector<FileBytes> afterCrash(Tears tears = Tears::COARSE) const;

private:
  friend class SimulatedFile;
  friend class SimulatedDirectory;
  struct Edit {
    bool truncates;
    uint64_t offset;   // Or the new size.
    std::string data;  // Written there.

    void applyTo(std::string& bytes) const;
  };
  struct Content {
    std::string bytes;        // As programs see them.
    std::string synced;       // As they are on disk for certain.
    std::vector<Edit> edits;  // Since then, in order.

    void edit(Edit edit);
    void sync();
    // Between `synced` and `bytes`, both left out.
    std::vector<std::string> tornVersions() const;
  };
  using Names = std::map<std::string, std::shared_ptr<Content>>;
  struct Change {
    std::string removed;  // Empty: none.
    std::string added;    // Empty: none.
    std::shared_ptr<Content> content;

    void applyTo(Names& names) const;
  };

  // Runs `make` as a step, under the lock. `fallShort`: what is made if it fails.
  template <typename Make>
  void step(Operation operation, const std::string& name, Make&& make);
  template <typename Make, typename FallShort>
  void step(Operation operation, const std::string& name, Make&& make, FallShort&& fallShort);
  bool fails(const DiskStep& step) const;
  bool liesAbout(const DiskStep& step) const;
  void change(Change change, const DiskStep& step);
  void syncDirectory(const DiskStep& step);

  // Over all below. Recursive: onStep()'s function looks at the disk.
  mutable std::recursive_mutex mutex;
  Names names;  // As programs see them.
  Names durable;
  std::vector<Change> pending;  // What `names` has over `durable`, in order.
  Names durableBefore;          // Before the last sync of the directory.
  std::vector<Change> pendingBefore;
  std::string lastChange;  // Its label.

  int steps = 0;
  std::string unreadable;  // A file's name.
  uint64_t unreadableAt = 0;
  int failStep = NEVER;
  int crashStep = NEVER;
  int lieStep = NEVER;
  Fault fault = Fault::ONE_STEP;
  size_t shortWrite = 0;
  Sync honesty = Sync::HONEST;
  kj::Function<void(const DiskStep&)> observer = [](const DiskStep&) {};
};

}  // namespace ledger::testing
