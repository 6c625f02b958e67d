// SPDX-License-Identifier: Apache-2.0
#include "ledger/recovery.h"

#include "ledger/checkpoint-loader.h"
#include "ledger/checkpoint/checking-sink.h"
#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/writer-temporaries.h"
#include "ledger/read-fault.h"
#include "ledger/trie-update.h"
#include "ledger/trie/update.h"
#include "ledger/wal/reader.h"
#include "ledger/wal/recovery-plan.h"
#include "ledger/wal/set-aside.h"
#include "ledger/wal/torn-tail.h"

#include <kj/debug.h>
#include <kj/encoding.h>

namespace ledger {

namespace {

[[noreturn]] void refuse(kj::String message) {
  kj::throwFatalException(
      kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::mv(message)));
}

constexpr uint64_t PROGRESS_STEP = uint64_t(1) << 20;  // Bytes.

// Computes the hashes of what passes on to another sink: of the very bytes that are loaded.
class VerifyingSink final : public CheckpointSink {
public:
  // `budget` bounds what the hashes take meanwhile.
  VerifyingSink(kj::StringPtr checkpoint, const shm::MemoryBudget& budget, CheckpointSink& next)
      : checking(checkpoint, CheckingSink::Hashes::RECOMPUTED), budget(budget), next(next) {}

  void begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t tries) override {
    uint64_t nodes = 0;
    for (auto count : nodesPerPart) nodes += count;
    auto reserved = budget.reserve(nodes * sizeof(Hash));
    KJ_IF_MAYBE (shortage, reserved.tryGet<shm::Shortage>()) {
      kj::throwFatalException(kj::Exception(
          kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
          kj::str("verifying the checkpoint does not fit into memory: ", shortage->describe())));
    }
    reservation = kj::mv(reserved.get<shm::Reservation>());
    checking.begin(nodesPerPart, tries);
    next.begin(nodesPerPart, tries);
  }
  void leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash, const Path& path,
            kj::Maybe<Payload> payload) override {
    checking.leaf(part, index, height, hash, path, payload);
    next.leaf(part, index, height, hash, path, payload);
  }
  void interior(unsigned part, uint64_t index, unsigned height, const Hash& hash, ChildRef left,
                ChildRef right) override {
    checking.interior(part, index, height, hash, left, right);
    next.interior(part, index, height, hash, left, right);
  }
  void trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
            const RootHash& rootHash) override {
    checking.trie(root, registerCount, registerSize, rootHash);
    next.trie(root, registerCount, registerSize, rootHash);
  }

private:
  CheckingSink checking;
  const shm::MemoryBudget& budget;
  CheckpointSink& next;
  shm::Reservation reservation;
};

class Recovery {
public:
  Recovery(const kj::Directory& directory, kj::StringPtr name, const Store& store,
           const ThreadPool& pool, LedgerOptions& options)
      : directory(directory),
        name(name),
        store(store),
        pool(pool),
        options(options),
        segments(listWalSegments(directory)),
        plan(makePlan()) {}

  kj::Own<const Forest> buildForest() {
    auto forest = kj::heap<Forest>(options.forestCapacity);
    forest->add(Trie::empty(kj::atomicAddRef(store)));
    replay(*forest, loadCheckpoint(*forest));
    return kj::mv(forest);
  }

  kj::Own<WalWriter> openLog() {
    setCheckpointsAside();
    for (auto& name : removeInterruptedCheckpoints(directory)) {
      hasChanged = true;
      options.reporter.info(kj::str("removed ", name, ", left by an interrupted checkpoint"));
    }
    // What was set aside does not count any more.
    segments = listWalSegments(directory);
    plan = makePlan();
    const bool synced = options.walSync.mode == SyncPolicy::Mode::ALWAYS;
    const WalWriterOptions writerOptions{.segment = plan.writeSegment,
                                         .firstToCreate = plan.firstSegmentToCreate,
                                         .segmentSize = options.walSegmentSize,
                                         .sync = synced ? WalSync::COMMIT : WalSync::LATER,
                                         .meters = options.meters.wal};
    return kj::heap<WalWriter>(directory.clone(), writerOptions);
  }

  kj::Maybe<uint64_t> loaded() const { return checkpoint; }

private:
  RecoveryPlan makePlan() const {
    auto numbers = KJ_MAP(segment, segments) { return segment.number; };
    auto checkpoints = listCheckpoints(directory);
    kj::Vector<uint64_t> empty;
    for (const auto& segment : segments) {
      if (segment.size == 0) empty.add(segment.number);
    }
    auto planned = planRecovery({numbers, checkpoints, hasRootCheckpoint(directory), empty});
    KJ_IF_MAYBE (error, planned.tryGet<Error>()) {
      refuse(kj::str(name, ": ", error->message, " ", whatChanged()));
    }
    return kj::mv(planned.get<RecoveryPlan>());
  }

  // For the text of a refusal.
  kj::StringPtr whatChanged() const {
    if (!hasChanged) return "Nothing was changed.";
    return "What this start has cut, set aside or removed stays so; its warnings say what.";
  }

  bool setsAside() const { return options.damage == LedgerOptions::Damage::SET_ASIDE; }

  // Returns the first segment to replay.
  uint64_t loadCheckpoint(Forest& forest) {
    kj::Vector<kj::String> failures;
    bool isInterrupted = false;
    for (const auto& start : plan.starts) {
      if (start.from == RecoveryStart::From::EMPTY_LEDGER) return start.replayFrom;
      auto file = start.from == RecoveryStart::From::ROOT_CHECKPOINT
                      ? kj::str(ROOT_CHECKPOINT_NAME)
                      : checkpointName(start.checkpoint);
      kj::Maybe<kj::Exception> failure = kj::runCatchingExceptions([&]() {
        CheckpointLoader loader(kj::atomicAddRef(store));
        CheckpointReadOptions reading;
        reading.threads = std::min<unsigned>(pool.threads(), CHECKPOINT_SUBTRIES);
        reading.progress = [&](uint64_t done, uint64_t total) {
          isInterrupted = true;  // Unless it returns.
          options.progress({Progress::Phase::CHECKPOINT, done, total});
          isInterrupted = false;
        };
        if (options.trust == LedgerOptions::Trust::NOTHING) {
          VerifyingSink verifying(file, *store.budget, loader);
          readCheckpoint(directory, file, verifying, kj::mv(reading));
        } else {
          readCheckpoint(directory, file, loader, kj::mv(reading));
        }
        auto tries = loader.takeTries();
        KJ_REQUIRE(tries.size() > 0, "the checkpoint has no trie");
        for (auto& trie : tries) forest.add(kj::mv(trie));
      });
      KJ_IF_MAYBE (exception, failure) {
        if (isInterrupted) kj::throwFatalException(kj::mv(*exception));
        if (isReadFault(*exception)) {
          refuse(kj::str(name, "/", file, " does not load: ", exception->getDescription(), ". ",
                         whatChanged(),
                         " To start from an older checkpoint, move the files of this one away."));
        }
        // Memory will not be larger with an older checkpoint, which takes longer, too.
        if (exception->getType() == kj::Exception::Type::OVERLOADED) {
          refuse(kj::str(name, "/", file, ": ", exception->getDescription()));
        }
        failures.add(kj::str(name, "/", file, " does not load: ", exception->getDescription()));
        options.reporter.warn(failures.back());
        unreadable.add(kj::mv(file));
      } else {
        if (unreadable.size() > 0) {
          options.reporter.warn(kj::str(name, ": starting from the older ", file,
                                        " and the segments behind it"));
        }
        if (start.from == RecoveryStart::From::CHECKPOINT) checkpoint = start.checkpoint;
        return start.replayFrom;
      }
    }
    refuse(kj::str("no checkpoint that the ledger could start from loads:\n",
                   kj::strArray(failures, "\n"),
                   "\nRestore one of them from a copy, or start from another directory."));
  }

  // So that they do not stand in the way of the log that is written from here on. Only once the
  // ledger is there: until then nothing is certain. The header goes last, so that a crash on the way
  // leaves a checkpoint that does not load, as it was.
  void setCheckpointsAside() {
    if (!setsAside()) return;
    for (auto& checkpoint : unreadable) {
      for (unsigned part = 0; part < CHECKPOINT_PARTS; ++part) {
        auto partName = checkpointPartName(checkpoint, part);
        if (directory.tryLstat(kj::Path(partName)) == nullptr) continue;
        hasChanged = true;
        renameDamaged(directory, partName);
      }
      directory.sync();
      hasChanged = true;
      auto to = renameDamaged(directory, checkpoint);
      directory.sync();
      options.reporter.warn(kj::str(name, "/", checkpoint, " is set aside, as ", to));
    }
  }

  void replay(Forest& forest, uint64_t from) {
    kj::Vector<WalSegment> replayed;
    for (const auto& segment : segments) {
      if (segment.number >= from) replayed.add(segment);
    }
    WalReader reader(directory, replayed);
    const auto total = reader.bytesTotal();
    uint64_t reported = 0;
    kj::Maybe<WalDamage> givenUp;  // A record that is sound and of no use, if that is allowed.
    for (;;) {
      KJ_IF_MAYBE (record, reader.next()) {
        KJ_IF_MAYBE (reason, apply(forest, *record)) {
          givenUp = WalDamage{record->start, kj::mv(*reason), record->start.offset, false};
          break;
        }
      } else {
        break;
      }
      if (reader.bytesDone() - reported < PROGRESS_STEP) continue;
      reported = reader.bytesDone();
      options.progress({Progress::Phase::REPLAY, reported, total});
    }
    options.progress({Progress::Phase::REPLAY, reader.bytesDone(), total});
    KJ_IF_MAYBE (damage, givenUp) {
      setLogAside(*damage);
    } else {
      KJ_IF_MAYBE (damage, reader.damage()) repair(*damage);
    }
  }

  void repair(const WalDamage& damage) {
    KJ_IF_MAYBE (error, refuseUnlessTorn(directory, segments, damage)) {
      if (!setsAside()) refuse(kj::str(name, ": ", error->message));
      return setLogAside(damage);
    }
    hasChanged = true;
    auto cut = cutTornTail(directory, damage);
    options.reporter.warn(kj::str(
        name, "/", walSegmentName(cut.segment), ": cut ", cut.length, " bytes at offset ",
        cut.offset, ", the torn end of a write that was never acknowledged (", damage.reason, ")",
        cut.backup == nullptr ? kj::str() : kj::str("; they are kept in ", cut.backup)));
  }

  void setLogAside(const WalDamage& damage) {
    hasChanged = true;
    auto aside = setAside(directory, segments, damage);
    auto& cut = aside.cut;
    options.reporter.warn(kj::str(
        name, "/", walSegmentName(cut.segment), " is damaged at offset ", damage.at.offset, " (",
        damage.reason, "): gave up all from offset ", cut.offset, " on, as --recover asks: ",
        cut.length, " bytes, kept in ", cut.backup == nullptr ? "no file"_kj : cut.backup.asPtr(),
        ", and ", aside.renamed.size(), " later segments, kept as damaged-*.bak. Acknowledged "
        "updates may be among them."));
  }

  // Null: applied, or of no effect. Else why the log is given up from this record on.
  kj::Maybe<kj::String> apply(Forest& forest, const WalRecord& record) {
    auto decoded = decodeWalRecord(record.bytes);
    KJ_SWITCH_ONEOF(decoded) {
      KJ_CASE_ONEOF(error, Error) {
        auto reason = kj::str("the record does not decode: ", error.message);
        if (!setsAside()) refuse(kj::str(place(record), ": ", reason));
        return kj::mv(reason);
      }
      KJ_CASE_ONEOF(operation, LogRecord) {
        // A deletion is never acted upon.
        if (operation.is<DecodedTrieUpdate>()) {
          apply(forest, record, operation.get<DecodedTrieUpdate>());
        }
      }
    }
    return nullptr;
  }

  void apply(Forest& forest, const WalRecord& record, DecodedTrieUpdate& update) {
    auto parent = forest.find(update.root);
    if (parent == nullptr) return skipOrRefuse(record, update);
    for (auto& payload : update.payloads) {
      if (payload.key.size() > MAX_KEY_SIZE || payload.value.size() > MAX_VALUE_SIZE) {
        refuse(kj::str(place(record), ": a key of ", payload.key.size(), " and a value of ",
                       payload.value.size(), " bytes: more than a ledger holds"));
      }
      payload.key = storedForm(payload.key);
    }
    TrieUpdater updater(kj::mv(KJ_ASSERT_NONNULL(parent)), pool);
    updater.plan(update.paths, update.payloads, Stop::never());
    KJ_IF_MAYBE (shortage, updater.reserve()) {
      refuse(kj::str(place(record),
                     ": the ledger does not fit into memory: ", shortage->describe()));
    }
    countUpdate(options.meters, updater.figures());
    forest.add(updater.build());
  }

  // flow-go logs Sets on states that it does not have, and refuses them.
  void skipOrRefuse(const WalRecord& record, const DecodedTrieUpdate& update) {
    auto what = kj::str(place(record), ": an update of the state ",
                        kj::encodeHex(update.root.ptr()), ", which is not there");
    if (isAtFirstRecord(record) && plan.starts.back().from == RecoveryStart::From::EMPTY_LEDGER) {
      // The first update of all is of the empty ledger.
      refuse(kj::str(what, ". The log begins with segment ", record.start.segment,
                     ": segments 0 to ", record.start.segment - 1,
                     ", or a checkpoint that covers them, are missing. Put them back from a "
                     "backup."));
    }
    if (!setsAside()) {
      refuse(kj::str(what,
                     ". Either the forest was larger when it was written (see "
                     "--mtrie-cache-size), or flow-go logged a Set that it refused (then "
                     "--recover passes it over)"));
    }
    options.reporter.warn(kj::str(
        what, ": passed over, as --recover asks. flow-go logs such Sets and refuses them; once a "
              "checkpoint covers this segment, neither it nor --recover is needed to start."));
  }

  bool isAtFirstRecord(const WalRecord& record) const {
    return record.start.offset == 0 && record.start.segment == segments.front().number &&
           record.start.segment > 0;
  }

  kj::String place(const WalRecord& record) const {
    return kj::str(name, "/", walSegmentName(record.start.segment), " at offset ",
                   record.start.offset);
  }

  const kj::Directory& directory;
  kj::StringPtr name;
  const Store& store;
  const ThreadPool& pool;
  LedgerOptions& options;
  bool hasChanged = false;  // Anything in the directory.
  kj::Array<WalSegment> segments;
  RecoveryPlan plan;
  kj::Maybe<uint64_t> checkpoint;     // The one that was loaded, if it has a number.
  kj::Vector<kj::String> unreadable;  // Those that were tried before it.
};

}  // namespace

void countUpdate(const LedgerMeters& meters, const TrieUpdater::Figures& figures) {
  meters.updatedValues.add(figures.registers);
  meters.updateBytes.set(figures.bytes);
  meters.newestRegisters.set(figures.after.registers);
  meters.newestBytes.set(figures.after.bytes);
  meters.registersChange.set(figures.after.registers - figures.before.registers);
  meters.bytesChange.set(figures.after.bytes - figures.before.bytes);
  meters.newestDepth.set(figures.depth);
}

Recovered recover(const kj::Directory& directory, kj::StringPtr directoryName,
                  kj::Own<const shm::MemoryBudget> budget, LedgerOptions& options) {
  KJ_REQUIRE(options.forestCapacity >= 1 && options.forestCapacity <= 65535,
             "the forest's capacity must be 1 to 65,535", options.forestCapacity);
  auto lock = DirectoryLock::acquire(directory, directoryName);
  if (lock.is<Error>()) refuse(kj::mv(lock.get<Error>().message));
  // What a process before this one left, if it was killed or its sync failed, may be in the page
  // cache only. All that follows relies on it.
  directory.sync();
  syncWalEnd(directory);
  auto store = kj::atomicRefcounted<Store>(*budget);
  auto pool = kj::heap<ThreadPool>(options.threads);
  Recovery recovery(directory, directoryName, *store, *pool, options);
  auto forest = recovery.buildForest();
  auto writer = recovery.openLog();
  return {kj::mv(lock.get<DirectoryLock>()),
          kj::mv(store),
          kj::mv(budget),
          kj::mv(pool),
          kj::mv(forest),
          kj::mv(writer),
          recovery.loaded()};
}

}  // namespace ledger
