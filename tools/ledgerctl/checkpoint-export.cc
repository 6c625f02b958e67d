// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint-loader.h"
#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/layout.h"
#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/reader.h"
#include "ledger/checkpoint/writer.h"
#include "ledger/wal/directory-lock.h"
#include "shm/memory-budget.h"
#include "shm/memory-limit.h"
#include "tools/ledgerctl/checkpoint-commands.h"
#include "tools/ledgerctl/files.h"
#include "tools/ledgerctl/progress.h"
#include "tools/ledgerctl/text.h"

#include <kj/exception.h>

#include <atomic>
#include <csignal>

namespace ledgerctl {
namespace {

using ledger::DirectoryLock;
using ledger::Error;
using ledger::RootHash;
using ledger::Trie;
using ledger::WrittenCheckpoint;

// Requested by the first SIGINT or SIGTERM while it lives, unless they are ignored; a second one of
// the same kind kills. At most one lives at a time.
class InterruptStop final : public ledger::Stop {
public:
  InterruptStop() {
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = true; };
    action.sa_flags = SA_RESETHAND | SA_RESTART;
    for (auto i : kj::indices(SIGNALS)) {
      sigaction(SIGNALS[i], &action, &before[i]);
      if (before[i].sa_handler == SIG_IGN) sigaction(SIGNALS[i], &before[i], nullptr);
    }
  }
  ~InterruptStop() {
    for (auto i : kj::indices(SIGNALS)) sigaction(SIGNALS[i], &before[i], nullptr);
  }
  KJ_DISALLOW_COPY(InterruptStop);

  bool requested() const override { return interrupted; }

private:
  static constexpr int SIGNALS[] = {SIGINT, SIGTERM};
  struct sigaction before[2];
  static inline std::atomic<bool> interrupted = false;
  static_assert(std::atomic<bool>::is_always_lock_free);
};

// Where the new checkpoint goes.
struct Target {
  kj::Own<const kj::Directory> directory;
  std::string directoryName;
  kj::String name;
};

kj::OneOf<Target, ExitCode> openTarget(const Options& options, Output& output) {
  auto split = splitPath(options.output);
  auto name = kj::str(split.name.c_str());
  if (!ledger::isCheckpointName(name)) {
    return output.fail(ExitCode::USAGE,
                       kj::str("no ledger looks for a checkpoint of the name \"", name,
                               "\": --output is DIR/root.checkpoint or DIR/checkpoint.NNNNNNNN"));
  }
  auto directory = openDirectoryForWriting(split.directory);
  KJ_IF_MAYBE (bad, directory.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  Target target{kj::mv(directory.get<kj::Own<const kj::Directory>>()), split.directory,
                kj::mv(name)};

  // The writer looks again; but loading takes long.
  auto exists = [&](kj::StringPtr file) {
    return target.directory->tryLstat(kj::Path(file)) != nullptr;
  };
  auto refuse = [&](kj::StringPtr file) {
    return output.fail(ExitCode::REFUSED, kj::str(target.directoryName.c_str(), "/", file,
                                                  " exists: nothing is overwritten"));
  };
  if (exists(target.name)) return refuse(target.name);
  for (unsigned part = 0; part < ledger::CHECKPOINT_PARTS; ++part) {
    auto file = ledger::checkpointPartName(target.name, part);
    if (exists(file)) return refuse(file);
  }
  return kj::mv(target);
}

// Keeps a ledger from running in the target's directory meanwhile. Null: no ledger ever did.
kj::OneOf<kj::Maybe<DirectoryLock>, ExitCode> lockTarget(const Target& target, Output& output) {
  if (target.directory->tryLstat(kj::Path(".lock")) == nullptr) {
    return kj::Maybe<DirectoryLock>(nullptr);
  }
  auto lock = DirectoryLock::acquire(*target.directory, target.directoryName.c_str());
  KJ_IF_MAYBE (error, lock.tryGet<Error>()) return output.refuse(*error);
  return kj::Maybe<DirectoryLock>(kj::mv(lock.get<DirectoryLock>()));
}

// The place in the checkpoint of the state that --state names: of several, the newest.
kj::OneOf<size_t, ExitCode> findTrie(const Options& options, const CheckpointFile& file,
                                     Output& output) {
  auto parsed = parseState(options.state.c_str());
  KJ_IF_MAYBE (bad, parsed.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  auto& name = parsed.get<StateName>();
  if (name.is<Initial>()) {
    return output.fail(ExitCode::USAGE, "--state is 64 hex digits, or latest");
  }
  kj::Array<ledger::TrieRecord> tries;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 tries = ledger::readTrieRecords(
                     ledger::openCheckpoint(*file.directory, file.name));
               })) {
    return output.fail(ExitCode::DAMAGED,
                       kj::str(options.path.c_str(), ": ", faultText(*exception)));
  }
  for (size_t i = tries.size(); i-- > 0;) {
    if (name.is<Latest>() || tries[i].rootHash == name.get<RootHash>()) return i;
  }
  return output.fail(ExitCode::REFUSED,
                     kj::str(options.path.c_str(), " does not hold the state ",
                             options.state.c_str(), " (checkpoint roots lists those it holds)"));
}

// Loads the checkpoint and keeps one trie of it.
kj::Own<const Trie> load(const CheckpointFile& file, size_t index,
                         const shm::MemoryBudget& budget, ProgressBar& bar) {
  auto store = kj::atomicRefcounted<ledger::Store>(budget);
  ledger::CheckpointLoader loader(kj::atomicAddRef(*store));
  ledger::CheckpointReadOptions reading;
  reading.threads = partThreads();
  reading.progress = [&](uint64_t done, uint64_t total) { bar.update("loading", done, total); };
  ledger::readCheckpoint(*file.directory, file.name, loader, kj::mv(reading));
  return kj::mv(loader.takeTries()[index]);
}

ledger::Result<WrittenCheckpoint> write(const Target& target, const kj::Own<const Trie>& trie,
                                        ProgressBar& bar) {
  InterruptStop stop;
  ledger::CheckpointWriteOptions writing{
      .threads = partThreads(),
      .progress = [&](uint64_t done, uint64_t total) { bar.update("writing", done, total); },
      .stop = stop};
  return ledger::writeCheckpoint(*target.directory, target.name, kj::arrayPtr(&trie, 1),
                                 kj::mv(writing));
}

// --memory-limit, or else a fault that is `otherwise`.
ExitCode failedWith(const kj::Exception& exception, ExitCode otherwise) {
  return exception.getType() == kj::Exception::Type::OVERLOADED ? ExitCode::REFUSED : otherwise;
}

}  // namespace

ExitCode runCheckpointExport(const Options& options, Output& output) {
  auto opened = openCheckpointFile(options.path);
  KJ_IF_MAYBE (bad, opened.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  auto& file = opened.get<CheckpointFile>();
  auto place = findTrie(options, file, output);
  KJ_IF_MAYBE (code, place.tryGet<ExitCode>()) return *code;
  auto openedTarget = openTarget(options, output);
  KJ_IF_MAYBE (code, openedTarget.tryGet<ExitCode>()) return *code;
  auto& target = openedTarget.get<Target>();
  auto lock = lockTarget(target, output);
  KJ_IF_MAYBE (code, lock.tryGet<ExitCode>()) return *code;

  const uint64_t limit = options.memoryLimit.orDefault(
      []() { return shm::defaultMemoryLimit(kj::newDiskFilesystem()->getRoot()); });
  auto budget = shm::MemoryBudget::create("--memory-limit", limit);
  ProgressBar bar(progressForm(output), kj::systemPreciseMonotonicClock());

  kj::Own<const Trie> trie;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 trie = load(file, place.get<size_t>(), *budget, bar);
               })) {
    bar.clear();
    return output.fail(failedWith(*exception, ExitCode::DAMAGED),
                       kj::str(options.path.c_str(), ": ", faultText(*exception)));
  }
  ledger::Result<WrittenCheckpoint> result;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { result = write(target, trie, bar); })) {
    bar.clear();
    return output.fail(failedWith(*exception, ExitCode::INTERNAL),
                       kj::str(options.output.c_str(), ": ", faultText(*exception)));
  }
  bar.clear();
  KJ_IF_MAYBE (error, result.tryGet<Error>()) return output.refuse(*error);

  auto& written = result.get<WrittenCheckpoint>();
  if (output.isJson()) {
    return output.object({{"output", options.output},
                          {"state", hexJson(trie->rootHash().ptr())},
                          {"registers", trie->size().registers},
                          {"nodes", written.nodes},
                          {"bytes", written.bytes}});
  }
  return output.line(kj::str(options.output.c_str(), ": state ", toHex(trie->rootHash().ptr()),
                             ", ", countText(trie->size().registers, "register"), ", ",
                             countText(written.nodes, "node"), ", ", sizeText(written.bytes)));
}

}  // namespace ledgerctl
