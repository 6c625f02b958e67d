// SPDX-License-Identifier: Apache-2.0
#include "ledger/recent-sets.h"

#include <kj/debug.h>
#include <kj/time.h>

namespace ledger {

// How often a waiting call looks whether anybody still waits for it.
constexpr kj::Duration STOP_INTERVAL = 20 * kj::MILLISECONDS;

Result<RootHash> RecentSets::run(const SetId& id, const Hash& fingerprint, const Stop& stop,
                                 kj::Function<Result<RootHash>()> set) const {
  for (bool waiting = true; waiting;) {
    auto decided = state.when(
        [&](const State& state) {
          auto found = state.entries.find(id);
          return found == state.entries.end() || found->second.result != nullptr ||
                 found->second.fingerprint != fingerprint;
        },
        [&](State& state) -> kj::Maybe<Result<RootHash>> {
          auto [entry, isNew] = state.entries.try_emplace(id, Entry{fingerprint, nullptr});
          if (isNew) {
            waiting = false;  // This call is to execute it.
            return nullptr;
          }
          if (entry->second.fingerprint != fingerprint) {
            return Result<RootHash>(
                makeError(Code::INVALID_ARGUMENT, Reason::SET_ID_REUSED,
                          "the set id was used a short while ago for another request"));
          }
          KJ_IF_MAYBE (result, entry->second.result) return Result<RootHash>(*result);
          if (stop.requested()) {
            return Result<RootHash>(callCancelled());
          }
          return nullptr;
        },
        STOP_INTERVAL);
    KJ_IF_MAYBE (result, decided) return kj::mv(*result);
  }

  // If `set` throws, the id must not stay in flight.
  KJ_ON_SCOPE_FAILURE(state.lockExclusive()->entries.erase(id));
  auto result = set();
  auto lock = state.lockExclusive();
  if (result.is<RootHash>()) {
    lock->entries[id].result = result.get<RootHash>();
    lock->finished.push_back(id);
    if (lock->finished.size() > capacity) {
      lock->entries.erase(lock->finished.front());
      lock->finished.pop_front();
    }
  } else {
    lock->entries.erase(id);
  }
  return result;
}

}  // namespace ledger
