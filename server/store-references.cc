// SPDX-License-Identifier: Apache-2.0
#include "server/store-references.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

// A segment keeps its id while nobody refers to it, so that a client maps it once: for so many.
constexpr size_t REMEMBERED_SEGMENTS = 4096;

}  // namespace

kj::Maybe<StoreReferences::Reference> StoreReferences::refer(
    kj::Own<const Trie> trie, kj::ArrayPtr<const Value> values) const {
  auto located = Ledger::locate(*trie, values);
  auto segments = kj::heapArray<uint32_t>(located.segments.size());
  Reference reference(kj::atomicAddRef(*this), kj::mv(trie));
  {
    auto lock = state.lockExclusive();
    const bool isNewState = lock->tries.count(reference.trie.get()) == 0;
    if (lock->references >= limits.references ||
        (isNewState && lock->tries.size() >= limits.states)) {
      reference.owner = nullptr;
      return nullptr;
    }
    ++lock->references;
    ++lock->tries[reference.trie.get()];
    for (size_t i = 0; i < segments.size(); ++i) segments[i] = use(*lock, *located.segments[i]);
  }
  reference.where = KJ_MAP(span, located.spans) {
    return rpc::ArenaSpan{segments[span.segment], span.offset, span.length};
  };
  reference.segments = kj::mv(segments);
  return kj::mv(reference);
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

kj::Maybe<kj::Own<const shm::PeerReadable>> StoreReferences::find(uint32_t id) const {
  auto lock = state.lockShared();
  auto found = lock->segments.find(id);
  if (found == lock->segments.end() || found->second.uses == 0) return nullptr;
  return kj::Own<const shm::PeerReadable>(kj::atomicAddRef(*found->second.memory));
}

void StoreReferences::giveBack(const Reference& reference) const {
  kj::Vector<kj::Own<const ValueSegment>> unused;  // Dropped after the lock is.
  auto lock = state.lockExclusive();
  --lock->references;
  auto trie = lock->tries.find(reference.trie.get());
  if (--trie->second == 0) lock->tries.erase(trie);
  for (auto id : reference.segments) {
    auto& segment = lock->segments.at(id);
    if (--segment.uses == 0) unused.add(kj::mv(segment.memory));
  }
}

StoreReferences::Reference::~Reference() noexcept(false) {
  if (owner.get() != nullptr) owner->giveBack(*this);
}

}  // namespace ledger::server
