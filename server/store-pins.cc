// SPDX-License-Identifier: Apache-2.0
#include "server/store-pins.h"

#include <spdlog/spdlog.h>

namespace ledger::server {

void StorePins::add(const StoreReferences& references) const {
  known.lockExclusive()->insert(&references);
}

void StorePins::remove(const StoreReferences& references) const {
  known.lockExclusive()->erase(&references);
}

bool StorePins::revoke(const Ledger& ledger) const {
  kj::Vector<kj::Own<const Trie>> tries;  // Destroyed after the lock is given back.
  {
    auto lock = known.lockShared();
    for (auto* references : *lock) {
      for (auto& trie : references->revoke(ledger)) tries.add(kj::mv(trie));
    }
  }
  if (tries.size() == 0) return false;
  spdlog::warn("memory is short: took back {} states that clients read and that were evicted",
               tries.size());
  return true;
}

}  // namespace ledger::server
