// SPDX-License-Identifier: Apache-2.0
#pragma once
// What one session's client reads in the store itself: values where they lie, and the segments that
// they lie in, which it opens as it does arenas.
//
// A reference keeps one trie, and so all its values, for as long as the client holds the region
// that it rides in. How many states, and how many references, is bounded: beyond that replies are
// copies.
//
// A client that lost its connection may still read, while others' values come to lie there. So each
// reference has a lease: a number in the client's view, counted up when the reference ends. It lies
// in memory for nothing else, since a number that was told may never come back.

#include "ledger/ledger.h"
#include "schema/bulk.h"
#include "shm/arena-set.h"

#include <kj/mutex.h>
#include <kj/refcount.h>

#include <map>

namespace ledger::server {

// Thread: every method is const and may be called from any thread.
class StoreReferences final : public kj::AtomicRefcounted {
public:
  struct Limits {
    uint32_t references;  // Held at the same time; at most MOST_REFERENCES.
    uint32_t states;      // Kept by them.
  };
  static constexpr uint32_t MOST_REFERENCES = 4096;
  static constexpr uint64_t LEASES_BYTES = MOST_REFERENCES * rpc::Lease::BYTES;

  // `ids` gives the segments theirs.
  StoreReferences(kj::Own<const shm::ArenaSet> ids, const Limits& limits)
      : ids(kj::mv(ids)), limits(limits) {}

  // Move-only; may be dropped on any thread.
  class Reference final {
  public:
    Reference(Reference&&) = default;
    Reference& operator=(Reference&&) = delete;
    ~Reference() noexcept(false);

    // Ends it, and gives the trie. To drop the last reference to that takes time, as it frees
    // nodes: not on an event loop.
    kj::Own<const Trie> release();

  private:
    friend class StoreReferences;
    Reference(kj::Own<const StoreReferences> owner, kj::Own<const Trie> trie)
        : owner(kj::mv(owner)), trie(kj::mv(trie)) {}

    kj::Own<const StoreReferences> owner;  // Null once moved from, or released.
    kj::Own<const Trie> trie;
    kj::Array<uint32_t> segments;  // Ids, each once.
    uint32_t lease = 0;            // Its number's index.
  };

  struct Referred {
    Reference reference;
    kj::Array<rpc::ArenaSpan> spans;  // Where the values lie, in their order.
    rpc::Lease lease;
  };

  // Room for the leases: of LEASES_BYTES, before the first reference.
  bool hasLeases() const { return state.lockShared()->leases != nullptr; }
  void giveLeases(shm::Region region) const;

  // Values of `trie`, none of them empty. Null: the client holds as much as it may, or they lie in
  // more segments than are worth opening.
  kj::Maybe<Referred> refer(kj::Own<const Trie> trie, kj::ArrayPtr<const Value> values) const;

  struct Opened {
    kj::Own<const shm::PeerReadable> segment;
    kj::AutoCloseFd fd;  // For the peer.
  };

  // A segment with a value that the client holds a reference to. Null: it holds none.
  kj::Maybe<Opened> open(uint32_t id) const;

private:
  struct Segment {
    uint64_t serial;
    kj::Own<const ValueSegment> memory;  // While there are uses.
    uint32_t uses = 0;                   // By references.
  };
  struct State {
    std::map<uint32_t, Segment> segments;      // By id.
    std::map<uint64_t, uint32_t> idsBySerial;  // Of the same.
    std::map<const Trie*, uint32_t> tries;     // References to each.
    uint32_t references = 0;

    kj::Maybe<shm::Region> leases;
    uint32_t leasesUsed = 0;           // Of them; the rest was never lent.
    kj::Vector<uint32_t> leasesAgain;  // Whose references have ended.
  };

  uint32_t use(State& state, const ValueSegment& segment) const;
  void giveBack(const Reference& reference) const;
  static uint64_t* leaseAt(State& state, uint32_t index);

  const kj::Own<const shm::ArenaSet> ids;
  const Limits limits;
  kj::MutexGuarded<State> state;
};

}  // namespace ledger::server
