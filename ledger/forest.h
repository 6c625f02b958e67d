// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tries a client may still ask for, oldest first, at most `capacity` of them.
//
// First in, first out: reading a trie does not refresh it, and adding a root that is already there
// changes nothing. That is flow-go's order, and a replayed log must arrive at the same forest.

#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/trie/store-segment.h"
#include "ledger/trie/trie.h"

#include <kj/array.h>
#include <kj/mutex.h>

#include <deque>
#include <unordered_map>

namespace ledger {

// The refusal of whoever looks for a trie in vain, in flow-go's words.
Error unknownState(const RootHash& state);

// Thread: every method is const and may be called from any thread. Eviction gives a trie's nodes
// back on the thread that adds, unless a reader still holds the trie.
class Forest final {
public:
  // `capacity` is at least 1. Starts empty: the owner adds the empty trie.
  explicit Forest(uint32_t capacity);

  // Evicts the oldest trie if the forest is full. False: the root was there, nothing changed.
  bool add(kj::Own<const Trie> trie) const;

  // Null: never added, or evicted.
  kj::Maybe<kj::Own<const Trie>> find(const RootHash& root) const;

  // A trie and its number in the order of all that were ever added: the first is 0. It is here as
  // long as no more than `number` were evicted.
  struct Numbered {
    kj::Own<const Trie> trie;
    uint64_t number;
  };
  kj::Maybe<Numbered> findNumbered(const RootHash& root) const;

  // Begins with a word that says how many were evicted, for peers that map it. It grows before
  // add() returns.
  const StoreSegment& evictions() const { return *page; }

  bool contains(const RootHash& root) const;

  // How many more new tries can be added before this very trie is evicted. Null: it is not here.
  kj::Maybe<uint32_t> lifetime(const Trie& trie) const;

  uint32_t size() const;
  kj::Array<RootHash> roots() const;             // Oldest first.
  kj::Array<kj::Own<const Trie>> tries() const;  // Oldest first.

private:
  struct HashOfRoot {
    size_t operator()(const RootHash& root) const;
  };
  struct State {
    std::deque<kj::Own<const Trie>> order;  // Oldest first.
    // Sequence number of each trie; the oldest has number `evicted`.
    std::unordered_map<RootHash, uint64_t, HashOfRoot> index;
    uint64_t evicted = 0;
  };
  const uint32_t capacity;
  const kj::Own<const StoreSegment> page;
  kj::MutexGuarded<State> state;
};

}  // namespace ledger
