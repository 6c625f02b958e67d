// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gives every Set its place in the log, makes it durable there, and lets the results out in the
// same order.
//
// Looking up the parent and taking a place are one step, and each earlier Set that is not yet
// published counts as one coming eviction: a record never names a parent that a replay would not
// have at that point, and the forest after a restart is the forest before it. Taking the place is
// the commit point: what follows cannot be refused any more, only fail to be written.
//
// One thread writes. While it waits for the disk, records gather; they are its next group.

#include "ledger/error.h"
#include "ledger/forest.h"
#include "ledger/status.h"
#include "ledger/stop.h"
#include "ledger/trie/trie.h"
#include "ledger/wal/writer.h"

#include <kj/mutex.h>
#include <kj/thread.h>
#include <kj/time.h>

#include <deque>

namespace ledger {

// Is told what a replay of the log would come to, in its order.
// Thread: called by one thread at a time, whichever it is. Must not throw, and not wait for a Set.
class LogFollower {
public:
  // The trie of a Set, and what the forest made of it. Its record is in `segment`.
  enum class State { NEW, WAS_THERE };
  virtual void published(kj::Own<const Trie> trie, State state, uint64_t segment) const = 0;

  // All that was published is in segments up to this one, and nothing else ever will be in them.
  virtual void segmentFinished(uint64_t segment) const = 0;

protected:
  ~LogFollower() = default;
};

// Thread: const methods from any thread. They wait (for other Sets, for the disk), so not from an
// event loop. Every admitted Set must be published.
class Sequencer final {
public:
  // All three must outlive it. The writer's WalSync must be COMMIT exactly for Mode::ALWAYS.
  Sequencer(const Forest& forest, kj::Own<WalWriter> writer, SyncPolicy syncPolicy,
            const LogFollower& follower, const Reporter& reporter);

  // Writes what was admitted, closes the log. No Set may be on its way.
  ~Sequencer() noexcept(false);

  // A Set's place in the log.
  using Place = uint64_t;

  // Puts `record`, an update of `parent`, in the log's queue. May wait for earlier Sets if the
  // parent is about to be evicted. Errors: CANCELLED, SHUTTING_DOWN, and UNKNOWN_STATE if the
  // forest does not hold this very trie any more (it may hold another one of the same state, built
  // since). Then nothing is logged, and `record` is untouched.
  Result<Place> admit(const Trie& parent, kj::Array<const kj::byte>&& record,
                      const Stop& stop) const;

  // Waits until the record is written, as the policy demands, and every earlier Set is published,
  // then adds the trie to the forest. Error: WRITE_FAILED, and the trie is dropped.
  kj::Maybe<Error> publish(Place place, kj::Own<const Trie> trie) const;

  // Ends the log's segment behind the Sets that were admitted so far, tells the follower in their
  // order, and returns the segment's number. Errors: SHUTTING_DOWN, WRITE_FAILED.
  Result<uint64_t> finishSegment() const;

  // From here on nothing is admitted. Returns when every admitted Set is published.
  void drain() const;

  struct LogStatus {
    uint64_t activeSegment;
    LogHealth health;
  };
  LogStatus status() const;

private:
  struct Entry {
    enum class Progress { QUEUED, WRITING, WRITTEN, FAILED } progress = Progress::QUEUED;
    enum class Kind { RECORD, END_OF_SEGMENT } kind = Kind::RECORD;
    kj::Array<const kj::byte> record;
    uint64_t segment = 0;  // Once WRITTEN.
    kj::String failure;
  };
  struct State {
    std::deque<Entry> unpublished;  // In log order.
    Place first = 1;                // Place of the oldest of them.
    size_t queued = 0;              // The last so many of them are QUEUED.
    bool draining = false;
    bool stopping = false;
    LogStatus log{};
  };

  static Place enqueue(State& state, Entry::Kind kind, kj::Array<const kj::byte> record);
  static Error shuttingDown();
  // Waits for the turn of `place`, calls `then(segment)` in it unless writing failed, and ends it.
  template <typename Then>
  kj::Maybe<Error> takeTurn(Place place, Then&& then) const;

  void writeGroups();
  kj::Vector<Entry*> nextGroup();
  kj::Maybe<kj::String> write(kj::ArrayPtr<Entry* const> group);
  void syncLate();
  void noteHealth(kj::Maybe<kj::String> failure);

  const Forest& forest;
  kj::Own<WalWriter> writer;  // The log thread's, as the next two.
  const SyncPolicy syncPolicy;
  kj::Maybe<kj::TimePoint> syncDue;  // With Mode::INTERVAL, while something is not synced.
  const LogFollower& follower;
  const Reporter& reporter;
  kj::MutexGuarded<State> state;
  kj::Thread thread;  // Last: it ends first.
};

}  // namespace ledger
