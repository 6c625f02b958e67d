// SPDX-License-Identifier: Apache-2.0
#include "server/store-references.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger::server {
namespace {

// A segment keeps its id while nobody refers to it, so that a client maps it once: for so many.
constexpr size_t REMEMBERED_SEGMENTS = 4096;

// Of one reply: each costs the client a round trip, a descriptor and a mapping, once.
constexpr size_t MOST_SEGMENTS = 16;

}  // namespace

void StoreReferences::giveLeases(shm::Region region) const {
  KJ_REQUIRE(region.span().length >= LEASES_BYTES && region.span().offset % rpc::Lease::BYTES == 0);
  auto lock = state.lockExclusive();
  if (lock->leases != nullptr) return;  // Another call was faster.
  // No number is 0: that means that there is none.
  auto* first = reinterpret_cast<uint64_t*>(region.bytes().begin());
  std::fill(first, first + MOST_REFERENCES, uint64_t(1));
  lock->leases = kj::mv(region);
}

uint64_t* StoreReferences::leaseAt(State& state, uint32_t index) {
  return reinterpret_cast<uint64_t*>(KJ_ASSERT_NONNULL(state.leases).bytes().begin()) + index;
}

kj::Maybe<rpc::Lease> StoreReferences::lend(State& state, kj::Own<const Trie> trie,
                                            uint32_t& index) const {
  const uint32_t most = kj::min(limits.references, MOST_REFERENCES);
  const uint32_t references = state.held.size() - state.leasesAgain.size();
  const bool isNewState = state.tries.count(trie.get()) == 0;
  if (state.leases == nullptr || references >= most ||
      (isNewState && state.tries.size() >= limits.states)) {
    return nullptr;
  }
  ++state.tries[trie.get()];
  if (state.leasesAgain.size() > 0) {
    index = state.leasesAgain.back();
    state.leasesAgain.removeLast();
  } else {
    index = state.held.size();
    state.held.emplace_back();
  }
  state.held[index].trie = kj::mv(trie);
  auto& region = KJ_ASSERT_NONNULL(state.leases);
  rpc::Lease lease;
  lease.place.arena = region.arenaId();
  lease.place.offset = region.span().offset + index * rpc::Lease::BYTES;
  lease.value = *leaseAt(state, index);
  return lease;
}

kj::Maybe<StoreReferences::Referred> StoreReferences::refer(
    kj::Own<const Trie> trie, kj::ArrayPtr<const Value> values) const {
  auto located = Ledger::locate(*trie, values);
  if (located.segments.size() > MOST_SEGMENTS) return nullptr;
  auto lock = state.lockExclusive();
  uint32_t index;
  KJ_IF_MAYBE (lease, lend(*lock, kj::mv(trie), index)) {
    auto segments = KJ_MAP(segment, located.segments) {
      return use(*lock, *segment);
    };
    auto spans = KJ_MAP(span, located.spans) {
      return rpc::ArenaSpan{segments[span.segment], span.offset, span.length};
    };
    lock->held[index].segments = kj::mv(segments);
    return Referred{Reference(kj::atomicAddRef(*this), index), kj::mv(spans), *lease};
  }
  return nullptr;
}

kj::Maybe<StoreReferences::ReferredStore> StoreReferences::refer(Ledger::PinnedStore pinned) const {
  const auto root = pinned.trie->root();
  auto lock = state.lockExclusive();
  uint32_t index;
  KJ_IF_MAYBE (lease, lend(*lock, kj::mv(pinned.trie), index)) {
    kj::Vector<uint32_t> used;
    auto useAll = [&](kj::ArrayPtr<const NumberedSegment> segments) {
      return KJ_MAP(segment, segments) {
        used.add(use(*lock, *segment.memory));
        return ReferredStore::Segment{segment.number, used.back(), segment.committed};
      };
    };
    auto nodes = useAll(pinned.segments.nodes);
    auto payloads = useAll(pinned.segments.payloads);
    used.add(use(*lock, *pinned.evictions));
    const uint32_t evictions = used.back();
    lock->held[index].segments = used.releaseAsArray();
    return ReferredStore{Reference(kj::atomicAddRef(*this), index),
                         root,
                         kj::mv(nodes),
                         kj::mv(payloads),
                         *lease,
                         evictions,
                         pinned.number};
  }
  return nullptr;
}

uint32_t StoreReferences::use(State& state, const StoreSegment& segment) const {
  auto known = state.idsBySerial.find(segment.serial());
  if (known == state.idsBySerial.end()) {
    if (state.segments.size() >= REMEMBERED_SEGMENTS) {
      std::erase_if(state.segments, [&](const auto& entry) {
        if (entry.second.uses > 0) return false;
        state.idsBySerial.erase(entry.second.serial);
        return true;
      });
    }
    const uint32_t id = ids->takeId();
    known = state.idsBySerial.emplace(segment.serial(), id).first;
    state.segments.emplace(id, Segment{segment.serial(), {}});
  }
  auto& entry = state.segments.at(known->second);
  if (entry.uses++ == 0) entry.memory = kj::atomicAddRef(segment);
  return known->second;
}

kj::Maybe<StoreReferences::Opened> StoreReferences::open(uint32_t id) const {
  // Under the lock: the segment is not closed before it is known to be open elsewhere.
  auto lock = state.lockShared();
  auto found = lock->segments.find(id);
  if (found == lock->segments.end() || found->second.uses == 0) return nullptr;
  auto& segment = *found->second.memory;
  return Opened{kj::atomicAddRef(segment), segment.openReadOnly()};
}

void StoreReferences::end(State& state, uint32_t lease, Revoked& out) const {
  // First: a client that sees any byte of what comes to lie there sees this too.
  __atomic_add_fetch(leaseAt(state, lease), 1, __ATOMIC_SEQ_CST);
  auto& held = state.held[lease];
  auto entry = state.tries.find(held.trie.get());
  if (--entry->second == 0) state.tries.erase(entry);
  out.tries.add(kj::mv(held.trie));
  for (auto id : held.segments) {
    auto& segment = state.segments.at(id);
    if (--segment.uses == 0) out.segments.add(kj::mv(segment.memory));
  }
  held.segments = nullptr;
}

void StoreReferences::retire(Revoked& what) const {
  // The store may have closed one before the client opened it.
  for (auto& segment : what.segments) {
    if (!segment->isShared()) retired->add(kj::mv(segment));
  }
}

void StoreReferences::revoke(const Ledger& ledger, Revoked& out) const {
  auto lock = state.lockExclusive();
  for (uint32_t lease = 0; lease < lock->held.size(); ++lease) {
    auto& trie = lock->held[lease].trie;
    if (trie.get() != nullptr && !ledger.holds(*trie)) end(*lock, lease, out);
  }
}

kj::Maybe<kj::Own<const Trie>> StoreReferences::Reference::release() {
  Revoked ended;
  auto from = kj::mv(owner);
  {
    auto lock = from->state.lockExclusive();
    lock->leasesAgain.add(lease);
    if (lock->held[lease].trie.get() == nullptr) return nullptr;
    from->end(*lock, lease, ended);
  }
  from->retire(ended);
  return kj::mv(ended.tries[0]);
}

StoreReferences::Reference::~Reference() noexcept(false) {
  if (owner.get() != nullptr) release();
}

}  // namespace ledger::server
