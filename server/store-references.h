// SPDX-License-Identifier: Apache-2.0
#pragma once
// What one session's client reads in the store itself: values where they lie, or whole states, and
// the segments that they lie in, which it opens as it does arenas.
//
// A reference keeps one trie, and so all that it is made of, for as long as the client holds the
// region that it rides in. How many states, and how many references, is bounded: beyond that
// replies are copies.
//
// A client that lost its connection may still read, while others' values come to lie there; and
// where memory is short, what only references keep is taken back (StorePins). So each reference has
// a lease: a number in the client's view, counted up when the reference ends. It lies in memory for
// nothing else, since a number that was told may never come back.

#include "ledger/ledger.h"
#include "schema/bulk.h"
#include "shm/arena-set.h"
#include "shm/retired-arenas.h"

#include <kj/mutex.h>
#include <kj/refcount.h>

#include <map>
#include <vector>

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

  // `ids` gives the segments theirs. `retired` keeps those that the store has closed and the client
  // still has open.
  StoreReferences(kj::Own<const shm::ArenaSet> ids, kj::Own<const shm::RetiredArenas> retired,
                  const Limits& limits)
      : ids(kj::mv(ids)), retired(kj::mv(retired)), limits(limits) {}

  // Move-only; may be dropped on any thread.
  class Reference final {
  public:
    Reference(Reference&& other) : owner(kj::mv(other.owner)), lease(other.lease) {}
    Reference& operator=(Reference&&) = delete;
    ~Reference() noexcept(false);

    // Ends it, and gives the trie; null: it was revoked before. To drop the last reference to a
    // trie takes time, as it frees nodes: not on an event loop.
    kj::Maybe<kj::Own<const Trie>> release();

  private:
    friend class StoreReferences;
    Reference(kj::Own<const StoreReferences> owner, uint32_t lease)
        : owner(kj::mv(owner)), lease(lease) {}

    kj::Own<const StoreReferences> owner;  // Null once moved from, or released.
    uint32_t lease;                        // Its number's index.
  };

  // Room for the leases: of LEASES_BYTES, before the first reference.
  bool hasLeases() const { return state.lockShared()->leases != nullptr; }
  void giveLeases(shm::Region region) const;

  struct Referred {
    Reference reference;
    kj::Array<rpc::ArenaSpan> spans;  // Where the values lie, in their order.
    rpc::Lease lease;
  };

  // Values of `trie`, none of them empty. Null: the client holds as much as it may, or they lie in
  // more segments than are worth opening.
  kj::Maybe<Referred> refer(kj::Own<const Trie> trie, kj::ArrayPtr<const Value> values) const;

  struct ReferredStore {
    struct Segment {
      uint32_t number, arena;
      uint64_t committed;  // Bytes.
    };
    Reference reference;
    NodeRef root;
    kj::Array<Segment> nodes, payloads;
    rpc::Lease lease;
    uint32_t evictionsArena;  // Begins with the word; see Ledger::PinnedStore.
    uint64_t evictedAbove;
  };

  // A whole state. Null: the client holds as much as it may.
  kj::Maybe<ReferredStore> refer(Ledger::PinnedStore pinned) const;

  // What ended references kept.
  struct Revoked {
    kj::Vector<kj::Own<const Trie>> tries;
    kj::Vector<kj::Own<const StoreSegment>> segments;
  };

  // Drops the segments, once no lock is held. Those that the client has open stay counted.
  void retire(Revoked& what) const;

  // Ends the references to tries that `ledger` does not hold any more, and adds what they kept:
  // nothing is freed before the caller drops it.
  void revoke(const Ledger& ledger, Revoked& out) const;

  struct Opened {
    kj::Own<const shm::PeerReadable> segment;
    kj::AutoCloseFd fd;  // For the peer.
  };

  // A segment with something that the client holds a reference to. Null: it holds none.
  kj::Maybe<Opened> open(uint32_t id) const;

  // States that references keep.
  uint32_t states() const { return state.lockShared()->tries.size(); }

private:
  struct Segment {
    uint64_t serial;
    kj::Own<const StoreSegment> memory;  // While there are uses.
    uint32_t uses = 0;                   // By references.
  };
  // What the reference with a lease keeps.
  struct Held {
    kj::Own<const Trie> trie;  // Null: there is no such reference, or it was revoked.
    kj::Array<uint32_t> segments;  // Ids, each once.
  };
  struct State {
    std::map<uint32_t, Segment> segments;      // By id.
    std::map<uint64_t, uint32_t> idsBySerial;  // Of the same.
    std::map<const Trie*, uint32_t> tries;     // References to each.

    kj::Maybe<shm::Region> leases;
    std::vector<Held> held;            // By lease; those beyond were never lent.
    kj::Vector<uint32_t> leasesAgain;  // Whose references are gone.
  };

  // A new reference's lease. Null: there may be no more. The caller fills in the segments.
  kj::Maybe<rpc::Lease> lend(State& state, kj::Own<const Trie> trie, uint32_t& index) const;
  uint32_t use(State& state, const StoreSegment& segment) const;
  // Takes from a reference what it keeps; it had not been revoked.
  void end(State& state, uint32_t lease, Revoked& out) const;
  static uint64_t* leaseAt(State& state, uint32_t index);

  const kj::Own<const shm::ArenaSet> ids;
  const kj::Own<const shm::RetiredArenas> retired;
  const Limits limits;
  kj::MutexGuarded<State> state;
};

}  // namespace ledger::server
