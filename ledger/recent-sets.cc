// SPDX-License-Identifier: Apache-2.0
#include "ledger/recent-sets.h"

#include <kj/debug.h>

namespace ledger {

Result<RootHash> RecentSets::run(const SetId& id, const Hash& fingerprint,
                                 kj::Function<Result<RootHash>()> set) const {
  // Waits while the id is in flight; null: this call is to execute it.
  auto earlier = state.when(
      [&](const State& state) {
        auto found = state.entries.find(id);
        return found == state.entries.end() || found->second.result != nullptr ||
               found->second.fingerprint != fingerprint;
      },
      [&](State& state) -> kj::Maybe<Result<RootHash>> {
        auto [entry, isNew] = state.entries.try_emplace(id, Entry{fingerprint, nullptr});
        if (isNew) return nullptr;
        if (entry->second.fingerprint != fingerprint) {
          return Result<RootHash>(
              makeError(Code::INVALID_ARGUMENT, Reason::SET_ID_REUSED,
                        "the set id was used a short while ago for another request"));
        }
        return Result<RootHash>(KJ_ASSERT_NONNULL(entry->second.result));
      });
  KJ_IF_MAYBE (result, earlier) {
    return kj::mv(*result);
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
