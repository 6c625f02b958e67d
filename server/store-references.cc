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

kj::Maybe<StoreReferences::Referred> StoreReferences::refer(
    kj::Own<const Trie> trie, kj::ArrayPtr<const Value> values) const {
  auto located = Ledger::locate(*trie, values);
  if (located.segments.size() > MOST_SEGMENTS) return nullptr;
  auto segments = kj::heapArray<uint32_t>(located.segments.size());
  Reference reference(kj::atomicAddRef(*this), kj::mv(trie));
  rpc::Lease lease;
  {
    auto lock = state.lockExclusive();
    const bool isNewState = lock->tries.count(reference.trie.get()) == 0;
    const uint32_t most = kj::min(limits.references, MOST_REFERENCES);
    if (lock->leases == nullptr || lock->references >= most ||
        (isNewState && lock->tries.size() >= limits.states)) {
      reference.owner = nullptr;
      return nullptr;
    }
    ++lock->references;
    ++lock->tries[reference.trie.get()];
    for (size_t i = 0; i < segments.size(); ++i) segments[i] = use(*lock, *located.segments[i]);
    if (lock->leasesAgain.size() > 0) {
      reference.lease = lock->leasesAgain.back();
      lock->leasesAgain.removeLast();
    } else {
      reference.lease = lock->leasesUsed++;
    }
    auto& region = KJ_ASSERT_NONNULL(lock->leases);
    lease.place.arena = region.arenaId();
    lease.place.offset = region.span().offset + reference.lease * rpc::Lease::BYTES;
    lease.value = *leaseAt(*lock, reference.lease);
  }
  auto spans = KJ_MAP(span, located.spans) {
    return rpc::ArenaSpan{segments[span.segment], span.offset, span.length};
  };
  reference.segments = kj::mv(segments);
  return Referred{kj::mv(reference), kj::mv(spans), lease};
}

uint32_t StoreReferences::use(State& state, const ValueSegment& segment) const {
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

void StoreReferences::giveBack(const Reference& reference) const {
  kj::Vector<kj::Own<const ValueSegment>> unused;  // Dropped after the lock is.
  auto lock = state.lockExclusive();
  // First: a client that sees any byte of what comes to lie there sees this too.
  __atomic_add_fetch(leaseAt(*lock, reference.lease), 1, __ATOMIC_SEQ_CST);
  lock->leasesAgain.add(reference.lease);
  --lock->references;
  auto entry = lock->tries.find(reference.trie.get());
  if (--entry->second == 0) lock->tries.erase(entry);
  for (auto id : reference.segments) {
    auto& segment = lock->segments.at(id);
    if (--segment.uses == 0) unused.add(kj::mv(segment.memory));
  }
}

kj::Own<const Trie> StoreReferences::Reference::release() {
  auto from = kj::mv(owner);
  from->giveBack(*this);
  return kj::mv(trie);
}

StoreReferences::Reference::~Reference() noexcept(false) {
  if (owner.get() != nullptr) release();
}

}  // namespace ledger::server
