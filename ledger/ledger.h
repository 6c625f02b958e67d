// SPDX-License-Identifier: Apache-2.0
#pragma once
// One ledger: the live tries of a directory, its log, and the operations on them.
//
// Ledger::open() takes the directory's lock, loads the newest usable checkpoint and replays the
// log. After that reads and proofs run on immutable tries and never wait for a Set; Sets pass one
// sequencer (docs/architecture.md, "The life of a Set"): a Set that was answered is durable, and
// one that failed is not in the log.

#include "ledger/checkpointer.h"
#include "ledger/error.h"
#include "ledger/forest.h"
#include "ledger/meters.h"
#include "ledger/model.h"
#include "ledger/proof/prove.h"
#include "ledger/recent-sets.h"
#include "ledger/status.h"
#include "ledger/stop.h"
#include "ledger/thread-pool.h"
#include "ledger/trie/trie.h"
#include "shm/memory-budget.h"

#include <kj/filesystem.h>
#include <kj/function.h>

namespace ledger {

// How far a start has come. Reported from the opening thread, about once a MiB.
struct Progress {
  enum class Phase { CHECKPOINT, REPLAY } phase;
  uint64_t done;   // Bytes.
  uint64_t total;  // Bytes.
};

class Ledger;

struct LedgerOptions {
  uint32_t forestCapacity = 500;                 // Tries, 1 to 65,535.
  uint64_t walSegmentSize = uint64_t(32) << 20;  // Bytes, a multiple of 32,768.
  // That work at a time on what can be cut into pieces: a large Set, Get or Prove, the start.
  unsigned threads = ThreadPool::processors();
  SyncPolicy walSync = {};
  CheckpointPolicy checkpoints = {};

  // What is believed of a checkpoint that is loaded.
  enum class Trust {
    HASHES,  // That the hashes in it are those of its values, as flow-go does.
    NOTHING  // Every hash is computed anew; a checkpoint that has a wrong one does not load. Takes
             // 32 bytes a node while it lasts.
  };
  Trust trust = Trust::HASHES;

  // What becomes of a log that is damaged, and not by the crash of a writer.
  enum class Damage {
    REFUSE,    // The start is refused; nothing is changed.
    SET_ASIDE  // All from the damage on is set aside under other names, and is not in the ledger.
  };
  Damage damage = Damage::REFUSE;

  kj::Function<void(const Progress&)> progress = [](const Progress&) {};

  // Asked when memory is short for a Set, on its thread: whether some was given back, so that it is
  // worth trying once more. Must be safe to call from many threads.
  kj::ConstFunction<bool(const Ledger&)> relieve = [](const Ledger&) { return false; };

  // Things an operator should know: a torn tail that was cut, a checkpoint that was passed over or
  // is being written. Must outlive the ledger.
  const Reporter& reporter = Reporter::silent();
  // Count what happens, from the start on. Must outlive the ledger.
  const LedgerMeters& meters = LedgerMeters::unread();
};

// The values of some registers, where they lie in the store; `trie` keeps them there.
struct Values {
  kj::Own<const Trie> trie;
  kj::Array<Value> values;  // In the order of the keys; unallocated registers are empty.
  uint64_t bytes;           // Sum of the values' lengths.
  shm::Reservation views;   // Of the array of values.
};

struct LedgerStats {
  uint64_t states, nodes, leaves, values;  // Live: in the forest or held by a reader.
  uint64_t nodeBytes, valueBytes;          // Of the live ones, in the stores.
  uint64_t committedBytes;                 // Of the stores' memfds.
  uint64_t privateBytes;                   // Counters beside them.
  uint64_t newestRegisters, newestBytes;   // Of the newest trie: regCount, regSize.
  uint64_t activeSegment;                  // Of the log.
  LogHealth log;
  CheckpointStatus checkpoints;
};

// Thread: const methods from any thread. get(), prove() and set() do work that grows with the
// request and set() waits for the disk: not on an event loop.
class Ledger final {
public:
  // Throws if the directory is locked, is not a ledger or is damaged; the message names the file,
  // the offset and what to do. `budget` bounds the stores. An empty directory becomes a ledger.
  static kj::Own<Ledger> open(kj::Own<const kj::Directory> directory, kj::StringPtr directoryName,
                              kj::Own<const shm::MemoryBudget> budget, LedgerOptions options);

  // Finishes the Sets that were accepted, closes the log, gives the lock back.
  ~Ledger() noexcept(false);

  // The empty ledger's state, whether or not it is still in the forest.
  RootHash initialState() const;
  bool hasState(const RootHash& state) const;
  uint64_t stateCount() const;
  // 0 is the oldest, -1 the newest. Error: INDEX_OUT_OF_RANGE.
  Result<RootHash> stateByIndex(int64_t index) const;
  kj::Array<RootHash> states() const;  // Oldest first.

  // Pins a state: its trie stays readable as long as it is held. Error: UNKNOWN_STATE.
  Result<kj::Own<const Trie>> pin(const RootHash& state) const;

  // The same, for a peer that reads the state in the store itself.
  struct PinnedStore {
    kj::Own<const Trie> trie;
    StoreSegments segments;  // With all that the trie refers to.
    // The state can be pinned again as long as the word that `evictions` begins with is not greater
    // than `number`.
    uint64_t number;
    kj::Own<const StoreSegment> evictions;
  };
  Result<PinnedStore> pinStore(const RootHash& state) const;

  // Whether pin() would give this very trie.
  bool holds(const Trie& trie) const;

  // One register, in a few microseconds. The bytes live as long as `trie`.
  static Result<Value> getSingleValue(const Trie& trie, EncodedKey key);
  // The same, counted among the reads.
  Result<Value> readSingleValue(const Trie& trie, EncodedKey key) const;

  // Where values of `trie` lie, none of them empty: for peers that may map the store. They stay
  // there as long as `trie` lives.
  static LocatedValues locate(const Trie& trie, kj::ArrayPtr<const Value> values);

  // Empty in, empty out, whatever the state. Errors: UNKNOWN_STATE, BAD_KEY, OUT_OF_MEMORY,
  // CANCELLED.
  Result<Values> get(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                     const Stop& stop) const;

  // A batch proof, sized and ready to be encoded. Empty in: a proof of nothing, whatever the state.
  // Errors: UNKNOWN_STATE, BAD_KEY, PROOF_TOO_DEEP, TOO_LARGE (over `maxEncodedSize` bytes),
  // OUT_OF_MEMORY, CANCELLED.
  Result<BatchProof> prove(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                           const Stop& stop, uint64_t maxEncodedSize = UNLIMITED_PROOF) const;

  // Applies one update and returns the new state once it is durable and published. The bytes of
  // `keys` and `values` must not change during the call. No keys: `state`, unchecked. `stop` is
  // honoured up to the commit point, never after. A Set whose `id` is in flight or among the last
  // 1,024 is not executed again: it returns that one's result.
  // Errors: UNKNOWN_STATE, BAD_KEY, BAD_REQUEST, TOO_LARGE, OUT_OF_MEMORY, CANCELLED, WRITE_FAILED,
  // SET_ID_REUSED, SHUTTING_DOWN. After any of them nothing of the update is in the log; only after
  // WRITE_FAILED with LogHealth::State::FAILED nobody knows.
  Result<RootHash> set(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                       kj::ArrayPtr<const Value> values, kj::Maybe<SetId> id,
                       const Stop& stop) const;

  // As Checkpointer::checkpointNow(): waits for the disk, perhaps for long.
  Result<uint64_t> checkpoint(const Stop& stop) const;

  // Before a shutdown: gives up the one that is being written, and begins no other. Who waits for one
  // is told SHUTTING_DOWN.
  void giveUpCheckpoint() const;

  // Gives back memory that was freed since and that peers have let go of. From time to time.
  void collect() const;

  LedgerStats stats() const;

  struct Impl;
  explicit Ledger(kj::Own<Impl> impl);  // Use open().
  KJ_DISALLOW_COPY(Ledger);

private:
  kj::Own<Impl> impl;
};

}  // namespace ledger
