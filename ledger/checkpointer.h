// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes checkpoints of a running ledger: by itself, when the log has grown by some segments, and
// on demand. Sets go on meanwhile: a checkpoint is made from tries, which never change.
//
// Checkpoint n holds the tries that a replay of the segments up to n would come to: the last ones
// that were published when segment n was finished, one for each Set, states that were there already
// included, at most as many as the forest holds. That is flow-go's compactor, its queue and its
// cadence (ledger/complete/compactor.go), so that the files are the same. But where repeated states
// have pushed out others that the forest still holds, a checkpoint holds the forest instead.
//
// What is new is not trusted before it was read back, and nothing old goes before that: not
// checkpoints in excess of those to keep, nor the segments that they made superfluous.

#include "ledger/error.h"
#include "ledger/give-way.h"
#include "ledger/sequencer.h"
#include "ledger/status.h"
#include "ledger/stop.h"
#include "ledger/trie/trie.h"

#include <kj/array.h>
#include <kj/filesystem.h>
#include <kj/function.h>
#include <kj/mutex.h>
#include <kj/thread.h>

#include <atomic>
#include <deque>

namespace ledger {

// The free bytes of the disk that a directory is on; null if it is on none.
kj::Maybe<uint64_t> freeSpaceOf(const kj::Directory& directory);

struct CheckpointPolicy {
  uint32_t distance = 100;  // Segments from one to the next; at least 1.
  uint32_t keep = 3;        // Older ones are removed. 0: none is.
  unsigned threads = 2;     // That write and read parts side by side, 1 to 16.

  // Segments that no kept checkpoint needs.
  enum class Superfluous { KEEP, REMOVE } superfluous = Superfluous::KEEP;

  // Bytes of the disk that stay free: a checkpoint that would not leave them is not begun, one that
  // comes to need them is given up.
  uint64_t diskReserve = uint64_t(1) << 30;
  // Free bytes of a directory's disk; null: unknown, and there is no reserve.
  kj::Function<kj::Maybe<uint64_t>(const kj::Directory&)> freeSpace = freeSpaceOf;
};

// Thread: const methods from any thread; published() and segmentFinished() as LogFollower says.
class Checkpointer final : public LogFollower {
public:
  struct Start {
    kj::Array<kj::Own<const Trie>> tries;  // Of the forest, oldest first.
    uint32_t capacity;                     // Of the forest.
    uint64_t activeSegment;                // Of the log, empty.
    // The checkpoint that was loaded. Those above it did not load, and count for nothing.
    kj::Maybe<uint64_t> checkpoint;
  };
  // The caller holds the directory's lock. `sets`, which it gives way to, and `reporter` must
  // outlive it.
  Checkpointer(kj::Own<const kj::Directory> directory, Start start, CheckpointPolicy policy,
               const SetsInProgress& sets, const Reporter& reporter);

  // As giveUp().
  ~Checkpointer() noexcept(false);

  // Gives up a checkpoint that is being written, and leaves nothing of it; one that is written by
  // then stays. No other is begun.
  void giveUp() const;

  void published(kj::Own<const Trie> trie, LogFollower::State novelty,
                 uint64_t segment) const override;
  void segmentFinished(uint64_t segment) const override;

  // Writes a checkpoint of all that is published by now, after the one that is being written if
  // there is one, and returns its number once it is on disk and read back; or the number of the
  // newest one if that is all there is. `finishSegment` is Sequencer::finishSegment(). `stop` ends
  // the waiting, not the writing. Errors: CANCELLED, SHUTTING_DOWN, RESOURCE_EXHAUSTED (no room),
  // WRITE_FAILED.
  Result<uint64_t> checkpointNow(kj::FunctionParam<Result<uint64_t>()> finishSegment,
                                 const Stop& stop) const;

  CheckpointStatus status() const;

private:
  struct Job {
    uint64_t number;
    kj::Array<kj::Own<const Trie>> tries;
  };
  struct State {
    std::deque<kj::Own<const Trie>> queue;   // Oldest first.
    std::deque<kj::Own<const Trie>> forest;  // What it holds, oldest first.
    uint64_t activeSegment;
    bool activeIsEmpty = true;
    uint64_t next;           // The first segment whose end asks for a checkpoint.
    kj::Maybe<Job> job;      // To be begun.
    bool isClaimed = false;  // By a checkpointNow() that has no job yet: nobody else may have one.
    bool isRunning = false;
    bool stopping = false;
    kj::TimePoint begun = kj::origin<kj::TimePoint>();
    kj::Maybe<Error> outcome;  // Of the last one; null: it succeeded.
    CheckpointStatus status;
  };
  class Halt final : public Stop {
  public:
    bool requested() const override { return flag.load(std::memory_order_relaxed); }
    mutable std::atomic<bool> flag{false};
  };

  static bool isBusy(const State& state) { return state.isRunning || state.job != nullptr; }
  void begin(State& state, uint64_t number) const;
  bool queueLeadsToForest(const State& state) const;
  // What a checkpointNow() is to do: wait for the checkpoint of this number, which is begun; or
  // finish a segment for it; or answer.
  struct Begun {
    uint64_t number;
  };
  struct Claimed {};
  kj::OneOf<Begun, Claimed, Result<uint64_t>> claim(const Stop& stop) const;

  void serve() const;
  void drop(kj::Array<kj::Own<const Trie>> tries) const;
  kj::Maybe<Error> run(const Job& job) const;
  kj::Maybe<Error> requireRoom(uint64_t number, uint64_t needed) const;
  kj::Maybe<Error> write(kj::StringPtr name, const Job& job) const;
  kj::Maybe<Error> readBack(kj::StringPtr name, uint64_t number) const;
  void removeOld(kj::Vector<kj::String>& removed) const;  // Adds what is to be told.

  const kj::Own<const kj::Directory> directory;
  const uint32_t capacity;
  mutable CheckpointPolicy policy;  // freeSpace: the thread's.
  const SetsInProgress& sets;
  const Reporter& reporter;
  const Halt halt;
  kj::MutexGuarded<State> state;
  mutable std::atomic<uint64_t> doneBytes{0}, totalBytes{0};  // Of the one that is being written.
  mutable uint64_t writtenBytes = 0;  // Of the last one written; the thread's.
  kj::Vector<uint64_t> unreadable;  // Checkpoints that did not load. Constant.
  kj::Own<kj::Thread> thread;       // Last: it ends first.
};

}  // namespace ledger
