// SPDX-License-Identifier: Apache-2.0
#include "ledger/forest.h"

#include <kj/debug.h>
#include <kj/encoding.h>

namespace ledger {

Error unknownState(const RootHash& state) {
  return makeError(Code::NOT_FOUND, Reason::UNKNOWN_STATE, "trie with the given rootHash ",
                   kj::encodeHex(state.ptr()), " not found");
}

namespace {

kj::Own<const StoreSegment> makePage() {
  auto page = kj::atomicRefcounted<StoreSegment>("ledgerd-forest"_kj, shm::pageSize());
  page->commit(page->capacity(), {});
  return page;
}

}  // namespace

Forest::Forest(uint32_t capacity)
    : capacity(capacity), page(makePage()) {
  KJ_REQUIRE(capacity > 0, "a forest holds at least one trie");
}

// A root hash is as good as random.
size_t Forest::HashOfRoot::operator()(const RootHash& root) const {
  size_t result;
  memcpy(&result, root.bytes.data(), sizeof(result));
  return result;
}

bool Forest::add(kj::Own<const Trie> trie) const {
  kj::Own<const Trie> evicted;  // Destroyed after the lock is given back.
  auto lock = state.lockExclusive();
  if (lock->index.count(trie->rootHash()) > 0) return false;
  if (lock->order.size() == capacity) {
    evicted = kj::mv(lock->order.front());
    lock->order.pop_front();
    lock->index.erase(evicted->rootHash());
    ++lock->evicted;
    // Whoever learns of the new trie finds that the oldest is gone. Release: before that.
    __atomic_store_n(reinterpret_cast<uint64_t*>(page->bytes().begin()), lock->evicted,
                     __ATOMIC_RELEASE);
  }
  lock->index.emplace(trie->rootHash(), lock->evicted + lock->order.size());
  lock->order.push_back(kj::mv(trie));
  return true;
}

kj::Maybe<kj::Own<const Trie>> Forest::find(const RootHash& root) const {
  KJ_IF_MAYBE (found, findNumbered(root)) return kj::mv(found->trie);
  return nullptr;
}

kj::Maybe<Forest::Numbered> Forest::findNumbered(const RootHash& root) const {
  auto lock = state.lockShared();
  auto found = lock->index.find(root);
  if (found == lock->index.end()) return nullptr;
  const uint64_t number = found->second;
  return Numbered{kj::atomicAddRef(*lock->order[number - lock->evicted]), number};
}

bool Forest::contains(const RootHash& root) const {
  return state.lockShared()->index.count(root) > 0;
}

kj::Maybe<uint32_t> Forest::lifetime(const Trie& trie) const {
  auto lock = state.lockShared();
  auto found = lock->index.find(trie.rootHash());
  if (found == lock->index.end()) return nullptr;
  if (lock->order[found->second - lock->evicted].get() != &trie) return nullptr;
  return uint32_t(capacity - lock->order.size() + (found->second - lock->evicted));
}

uint32_t Forest::size() const {
  return state.lockShared()->order.size();
}

kj::Array<RootHash> Forest::roots() const {
  auto lock = state.lockShared();
  return KJ_MAP(trie, lock->order) {
    return trie->rootHash();
  };
}

kj::Array<kj::Own<const Trie>> Forest::tries() const {
  auto lock = state.lockShared();
  return KJ_MAP(trie, lock->order) {
    return kj::atomicAddRef(*trie);
  };
}

}  // namespace ledger
