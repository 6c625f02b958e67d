// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes a Set with an id safe to send again.
//
// A Set whose id is in flight, or among the last finished ones, is not executed a second time: the
// caller gets the first one's result. Only success is remembered: nothing of a Set that failed is
// in the log, so the next try with its id is executed.

#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/stop.h"

#include <kj/function.h>
#include <kj/mutex.h>

#include <array>
#include <deque>
#include <map>

namespace ledger {

// A client's own name for a Set. Random: two clients never choose the same.
using SetId = std::array<kj::byte, 16>;

// Thread: const methods from any thread; run() waits.
class RecentSets final {
public:
  // Remembers the last `capacity` that succeeded.
  explicit RecentSets(size_t capacity) : capacity(capacity) {}

  // Executes `set`, or waits for and returns the result of the same Set. `fingerprint` tells the
  // request from others. Error: SET_ID_REUSED if it differs from that of the id's first Set.
  // CANCELLED if `stop` is requested while it waits.
  Result<RootHash> run(const SetId& id, const Hash& fingerprint, const Stop& stop,
                       kj::Function<Result<RootHash>()> set) const;

private:
  struct Entry {
    Hash fingerprint;
    kj::Maybe<RootHash> result;  // Null: in flight.
  };
  struct State {
    std::map<SetId, Entry> entries;
    std::deque<SetId> finished;  // Oldest first.
  };

  const size_t capacity;
  kj::MutexGuarded<State> state;
};

}  // namespace ledger
