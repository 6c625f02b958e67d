// SPDX-License-Identifier: Apache-2.0
#include "ledger/recovery.h"

#include "ledger/checkpoint-loader.h"
#include "ledger/trie-update.h"
#include "ledger/trie/update.h"
#include "ledger/wal/reader.h"
#include "ledger/wal/recovery-plan.h"
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

class Recovery {
public:
  Recovery(const kj::Directory& directory, kj::StringPtr name, const Store& store,
           LedgerOptions& options)
      : directory(directory),
        name(name),
        store(store),
        options(options),
        segments(listWalSegments(directory)),
        checkpoints(listCheckpoints(directory)) {
    auto numbers = KJ_MAP(segment, segments) { return segment.number; };
    kj::Vector<uint64_t> empty;
    for (const auto& segment : segments) {
      if (segment.size == 0) empty.add(segment.number);
    }
    auto planned = planRecovery({numbers, checkpoints, hasRootCheckpoint(directory), empty});
    KJ_SWITCH_ONEOF(planned) {
      KJ_CASE_ONEOF(error, Error) {
        refuse(kj::str(name, ": ", error.message));
      }
      KJ_CASE_ONEOF(good, RecoveryPlan) {
        plan = kj::mv(good);
      }
    }
  }

  kj::Own<const Forest> buildForest() {
    auto forest = kj::heap<Forest>(options.forestCapacity);
    forest->add(Trie::empty(kj::atomicAddRef(store)));
    replay(*forest, loadCheckpoint(*forest));
    return kj::mv(forest);
  }

  kj::Own<WalWriter> openLog(kj::Own<const kj::Directory> directory) {
    WalWriterOptions writerOptions;
    writerOptions.segment = plan.writeSegment;
    writerOptions.firstToCreate = plan.firstSegmentToCreate;
    writerOptions.segmentSize = options.walSegmentSize;
    return kj::heap<WalWriter>(kj::mv(directory), writerOptions);
  }

private:
  // Returns the first segment to replay.
  uint64_t loadCheckpoint(Forest& forest) {
    kj::Vector<kj::String> failures;
    for (const auto& start : plan.starts) {
      if (start.from == RecoveryStart::From::EMPTY_LEDGER) return start.replayFrom;
      auto file = start.from == RecoveryStart::From::ROOT_CHECKPOINT
                      ? kj::str(ROOT_CHECKPOINT_NAME)
                      : checkpointName(start.checkpoint);
      kj::Maybe<kj::Exception> failure = kj::runCatchingExceptions([&]() {
        CheckpointLoader loader(kj::atomicAddRef(store));
        CheckpointReadOptions reading;
        reading.progress = [&](uint64_t done, uint64_t total) {
          options.progress({Progress::Phase::CHECKPOINT, done, total});
        };
        readCheckpoint(directory, file, loader, kj::mv(reading));
        auto tries = loader.takeTries();
        KJ_REQUIRE(tries.size() > 0, "the checkpoint has no trie");
        for (auto& trie : tries) forest.add(kj::mv(trie));
      });
      KJ_IF_MAYBE (exception, failure) {
        // Memory will not be larger with an older checkpoint, which takes longer, too.
        if (exception->getType() == kj::Exception::Type::OVERLOADED) {
          refuse(kj::str(name, "/", file, ": ", exception->getDescription()));
        }
        failures.add(kj::str(name, "/", file, " does not load: ", exception->getDescription()));
        options.warn(failures.back());
      } else {
        return start.replayFrom;
      }
    }
    refuse(kj::str("no checkpoint that the ledger could start from loads:\n",
                   kj::strArray(failures, "\n"),
                   "\nRestore one of them from a copy, or start from another directory."));
  }

  void replay(Forest& forest, uint64_t from) {
    kj::Vector<WalSegment> replayed;
    for (const auto& segment : segments) {
      if (segment.number >= from) replayed.add(segment);
    }
    WalReader reader(directory, replayed);
    const auto total = reader.bytesTotal();
    uint64_t reported = 0;
    for (;;) {
      KJ_IF_MAYBE (record, reader.next()) {
        apply(forest, *record);
      } else {
        break;
      }
      if (reader.bytesDone() - reported < PROGRESS_STEP) continue;
      reported = reader.bytesDone();
      options.progress({Progress::Phase::REPLAY, reported, total});
    }
    options.progress({Progress::Phase::REPLAY, reader.bytesDone(), total});
    KJ_IF_MAYBE (damage, reader.damage()) {
      KJ_IF_MAYBE (error, refuseUnlessTorn(directory, segments, *damage)) {
        refuse(kj::str(name, ": ", error->message));
      }
      auto cut = cutTornTail(directory, *damage);
      options.warn(kj::str(
          name, "/", walSegmentName(cut.segment), ": cut ", cut.length, " bytes at offset ",
          cut.offset, ", the torn end of a write that was never acknowledged (", damage->reason,
          ")", cut.backup == nullptr ? kj::str() : kj::str("; they are kept in ", cut.backup)));
    }
  }

  void apply(Forest& forest, const WalRecord& record) {
    auto decoded = decodeWalRecord(record.bytes);
    KJ_SWITCH_ONEOF(decoded) {
      KJ_CASE_ONEOF(error, Error) {
        refuse(kj::str(place(record), ": the record does not decode: ", error.message));
      }
      KJ_CASE_ONEOF(operation, LogRecord) {
        if (!operation.is<DecodedTrieUpdate>()) return;  // A deletion: never acted upon.
        apply(forest, record, operation.get<DecodedTrieUpdate>());
      }
    }
  }

  void apply(Forest& forest, const WalRecord& record, DecodedTrieUpdate& update) {
    auto parent = forest.find(update.root);
    KJ_IF_MAYBE (trie, parent) {
      for (auto& payload : update.payloads) {
        if (payload.key.size() > MAX_KEY_SIZE || payload.value.size() > MAX_VALUE_SIZE) {
          refuse(kj::str(place(record), ": a key of ", payload.key.size(), " and a value of ",
                         payload.value.size(), " bytes: more than a ledger holds"));
        }
        payload.key = storedForm(payload.key);
      }
      TrieUpdater updater(kj::mv(*trie));
      updater.plan(update.paths, update.payloads, Stop::never());
      KJ_IF_MAYBE (shortage, updater.reserve()) {
        refuse(kj::str(place(record),
                       ": the ledger does not fit into memory: ", shortage->describe()));
      }
      forest.add(updater.build());
    } else {
      refuse(kj::str(place(record), ": an update of the state ", kj::encodeHex(update.root.ptr()),
                     ", which is not there. Either the forest was larger when it was written (see "
                     "--mtrie-cache-size), or flow-go logged a Set that it refused"));
    }
  }

  kj::String place(const WalRecord& record) const {
    return kj::str(name, "/", walSegmentName(record.start.segment), " at offset ",
                   record.start.offset);
  }

  const kj::Directory& directory;
  kj::StringPtr name;
  const Store& store;
  LedgerOptions& options;
  kj::Array<WalSegment> segments;
  kj::Array<uint64_t> checkpoints;
  RecoveryPlan plan;
};

}  // namespace

Recovered recover(kj::Own<const kj::Directory> directory, kj::StringPtr directoryName,
                  kj::Own<const shm::MemoryBudget> budget, LedgerOptions& options) {
  KJ_REQUIRE(options.forestCapacity >= 1 && options.forestCapacity <= 65535,
             "the forest's capacity must be 1 to 65,535", options.forestCapacity);
  auto lock = DirectoryLock::acquire(*directory, directoryName);
  if (lock.is<Error>()) refuse(kj::mv(lock.get<Error>().message));
  auto store = kj::atomicRefcounted<Store>(*budget);
  Recovery recovery(*directory, directoryName, *store, options);
  auto forest = recovery.buildForest();
  auto writer = recovery.openLog(kj::mv(directory));
  return {kj::mv(lock.get<DirectoryLock>()), kj::mv(store), kj::mv(budget), kj::mv(forest),
          kj::mv(writer)};
}

}  // namespace ledger
