// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads that need no call: from views of the states that are read again and again.
//
// Answers are the server's: where it would answer otherwise (a state that was evicted), or a view
// does not know, there is none, and the caller makes the call.

#include "client/ledger-client.h"
#include "client/state-view.h"

#include <kj/mutex.h>
#include <kj/refcount.h>
#include <kj/vector.h>

#include <atomic>

namespace ledger::client {

// Thread: every method is const and may be called from any thread.
class DirectReads final : public kj::AtomicRefcounted {
public:
  // What views are kept at the same time: a server lets a session hold a few.
  static constexpr size_t MAX_VIEWS = 4;

  // `inPlace`: large values are not copied.
  explicit DirectReads(bool inPlace) : inPlace(inPlace) {}

  // Null: ask the server.
  kj::Maybe<View> getSingleValue(const RootHash& state, EncodedKey key) const;
  kj::Maybe<Values> get(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys) const;

  // If there are too many it displaces one that nobody has used lately, or else is not kept.
  void add(kj::Own<const StateView> view) const;
  bool has(const RootHash& state) const { return find(state) != nullptr; }

  // Lets go of the views that nobody used since the last sweep, or that are no longer current;
  // tells how many are left.
  size_t sweep() const;

  // Lets go of the views that do not hold any more: a connection is lost.
  void dropTakenBack() const;

  ReadCounts counts() const;

private:
  struct Entry {
    kj::Own<const StateView> view;
    mutable std::atomic<bool> used{true};  // Since the last sweep.

    explicit Entry(kj::Own<const StateView> view) : view(kj::mv(view)) {}
    Entry(Entry&& other) : view(kj::mv(other.view)), used(other.used.load()) {}
    Entry& operator=(Entry&& other) {
      view = kj::mv(other.view);
      used = other.used.load();
      return *this;
    }
  };

  kj::Maybe<kj::Own<const StateView>> find(const RootHash& state) const;
  // Keeps the views that are wanted; tells how many.
  template <typename IsWanted>
  size_t keep(IsWanted&& isWanted) const;
  // Whether what was read from `view` is the answer. Counts it, and drops a view that is not good.
  bool settle(const StateView& view, bool makesSense, uint64_t registers) const;

  const bool inPlace;
  kj::MutexGuarded<kj::Vector<Entry>> views;  // Oldest first.
  mutable std::atomic<uint64_t> direct{0}, evicted{0}, takenBack{0}, broken{0};
};

}  // namespace ledger::client
