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
  const uint64_t before = revocations.load();
  // One at a time: who comes second waits until the memory is there.
  auto turn = revoking.lockExclusive();
  std::set<const Trie*> states;
  for (auto& references : all()) {
    StoreReferences::Revoked revoked;
    references->revoke(ledger, revoked);
    for (auto& trie : revoked.tries) states.insert(trie.get());
    references->retire(revoked);
  }
  if (states.size() == 0) return revocations.load() != before;
  ++revocations;
  spdlog::warn("memory is short: took back {} states that clients read and that were evicted",
               states.size());
  return true;
}

kj::Vector<kj::Own<const StoreReferences>> StorePins::all() const {
  auto lock = known.lockShared();
  kj::Vector<kj::Own<const StoreReferences>> result(lock->size());
  for (auto* references : *lock) result.add(kj::atomicAddRef(*references));
  return result;
}

}  // namespace ledger::server
