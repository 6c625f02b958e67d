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
#include "ledger/stop.h"
#include "ledger/trie/trie.h"
#include "ledger/wal/writer.h"

#include <kj/mutex.h>
#include <kj/thread.h>

#include <deque>

namespace ledger {

// Thread: const methods from any thread. They wait (for other Sets, for the disk), so not from an
// event loop. Every admitted Set must be published.
class Sequencer final {
public:
  // `forest` must outlive it.
  Sequencer(const Forest& forest, kj::Own<WalWriter> writer);

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

  // Waits until the record is durable and every earlier Set is published, then adds the trie to the
  // forest. Error: WRITE_FAILED, and the trie is dropped.
  kj::Maybe<Error> publish(Place place, kj::Own<const Trie> trie) const;

  // From here on admit() refuses. Returns when every admitted Set is published.
  void drain() const;

  uint64_t activeSegment() const;

private:
  struct Entry {
    enum class Progress { QUEUED, WRITING, DURABLE, FAILED } progress = Progress::QUEUED;
    kj::Array<const kj::byte> record;
    kj::String failure;
  };
  struct State {
    std::deque<Entry> unpublished;  // In log order.
    Place first = 1;                // Place of the oldest of them.
    size_t queued = 0;              // The last so many of them are QUEUED.
    bool draining = false;
    bool stopping = false;
    uint64_t segment = 0;
  };

  void writeGroups();
  static kj::Maybe<kj::String> write(WalWriter& writer, kj::ArrayPtr<Entry* const> group);

  const Forest& forest;
  kj::Own<WalWriter> writer;  // The log thread's.
  kj::MutexGuarded<State> state;
  kj::Thread thread;  // Last: it ends first.
};

}  // namespace ledger
