// SPDX-License-Identifier: Apache-2.0
#pragma once
// The references of all sessions into the store, so that no client keeps memory for ever: where it
// is short, what only references keep is taken back. Whoever read it learns that from the lease.

#include "server/store-references.h"

#include <kj/mutex.h>

#include <atomic>
#include <set>

namespace ledger::server {

// Thread: every method is const and may be called from any thread.
class StorePins final {
public:
  // `references` is known until remove(), which must come before its last reference is dropped.
  void add(const StoreReferences& references) const;
  void remove(const StoreReferences& references) const;

  // Ends all references to states that `ledger` does not hold any more, and frees what only they
  // kept, which takes time: not on an event loop. Tells whether there were any, or another thread
  // has just done so.
  bool revoke(const Ledger& ledger) const;

private:
  kj::Vector<kj::Own<const StoreReferences>> all() const;

  mutable std::atomic<uint64_t> revocations{0};  // That found any.
  struct Turn {};
  kj::MutexGuarded<Turn> revoking;
  kj::MutexGuarded<std::set<const StoreReferences*>> known;
};

}  // namespace ledger::server
