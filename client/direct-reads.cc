// SPDX-License-Identifier: Apache-2.0
#include "client/direct-reads.h"

#include "ledger/encoding.h"
#include "ledger/path-finder.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger::client {
namespace {

// Values that are this long, on average, are left in place.
constexpr uint64_t IN_PLACE_BYTES = 16 << 10;

// The most bytes to copy on the caller's thread. More come with a call, while the caller may do
// something else.
constexpr uint64_t MAX_COPY_BYTES = 1 << 20;

// The most registers to read on the caller's thread: a server reads more on all its threads.
constexpr size_t MAX_REGISTERS = 512;

bool isGood(EncodedKey key) {
  return key.size() <= MAX_KEY_SIZE && validateKey(key) == nullptr;
}

}  // namespace

kj::Maybe<kj::Own<const StateView>> DirectReads::find(const RootHash& state) const {
  auto lock = views.lockShared();
  for (auto& entry : *lock) {
    if (entry.view->state() != state) continue;
    if (!entry.used.load(std::memory_order_relaxed)) {
      entry.used.store(true, std::memory_order_relaxed);
    }
    return kj::atomicAddRef(*entry.view);
  }
  return nullptr;
}

template <typename IsWanted>
size_t DirectReads::keep(IsWanted&& isWanted) const {
  kj::Vector<Entry> dropped;  // Destroyed after the lock is given back.
  auto lock = views.lockExclusive();
  kj::Vector<Entry> kept(MAX_VIEWS);
  for (auto& entry : *lock) (isWanted(entry) ? kept : dropped).add(kj::mv(entry));
  *lock = kj::mv(kept);
  return lock->size();
}

bool DirectReads::settle(const StateView& view, bool makesSense, uint64_t registers) const {
  const auto standing = view.standing();
  if (standing == StateView::Standing::CURRENT && makesSense) {
    direct.fetch_add(registers, std::memory_order_relaxed);
    return true;
  }
  auto& why = standing == StateView::Standing::TAKEN_BACK ? takenBack
              : standing == StateView::Standing::EVICTED  ? evicted
                                                          : broken;
  why.fetch_add(1, std::memory_order_relaxed);
  keep([&](const Entry& entry) { return entry.view.get() != &view; });
  return false;
}

kj::Maybe<View> DirectReads::getSingleValue(const RootHash& state, EncodedKey key) const {
  KJ_IF_MAYBE (found, find(state)) {
    auto& view = **found;
    if (!isGood(key)) return nullptr;
    Value value;
    const bool makesSense = view.find(pathOf(key), value);
    if (makesSense && inPlace && value.size() >= IN_PLACE_BYTES) {
      if (!settle(view, makesSense, 1)) return nullptr;
      return View(value, kj::mv(*found), Place::SHARED_MEMORY);
    }
    if (value.size() > MAX_COPY_BYTES) return nullptr;
    auto copy = kj::heapArray<kj::byte>(value);
    if (!settle(view, makesSense, 1)) return nullptr;
    return View(onHeap(kj::mv(copy)));
  }
  return nullptr;
}

kj::Maybe<Values> DirectReads::get(const RootHash& state,
                                   kj::ArrayPtr<const EncodedKey> keys) const {
  if (keys.size() == 0 || keys.size() > MAX_REGISTERS) return nullptr;
  KJ_IF_MAYBE (found, find(state)) {
    auto& view = **found;
    if (!std::all_of(keys.begin(), keys.end(), isGood)) return nullptr;
    auto paths = kj::heapArray<Path>(keys.size());
    pathsOf(keys, paths);
    auto values = kj::heapArray<Value>(keys.size());
    const bool makesSense = view.find(paths, values);
    uint64_t bytes = 0;
    if (makesSense) {
      for (auto& value : values) bytes += value.size();
    }
    if (makesSense && inPlace && bytes / keys.size() >= IN_PLACE_BYTES) {
      if (!settle(view, makesSense, keys.size())) return nullptr;
      return Values(kj::mv(values), kj::mv(*found), Place::SHARED_MEMORY);
    }
    if (bytes > MAX_COPY_BYTES) return nullptr;
    auto copies = kj::heapArray<kj::byte>(bytes);
    auto* to = copies.begin();
    if (makesSense) {
      for (auto& value : values) {
        if (value.size() > 0) memcpy(to, value.begin(), value.size());
        value = kj::arrayPtr(to, value.size());
        to += value.size();
      }
    }
    if (!settle(view, makesSense, keys.size())) return nullptr;
    auto held = onHeap(kj::mv(copies));
    return Values(kj::mv(values), kj::mv(held.lease), Place::HEAP);
  }
  return nullptr;
}

void DirectReads::add(kj::Own<const StateView> view) const {
  kj::Maybe<Entry> displaced;  // Destroyed after the lock is given back.
  auto lock = views.lockExclusive();
  if (lock->size() == MAX_VIEWS) {
    auto* unused = std::find_if(lock->begin(), lock->end(),
                                [](const Entry& entry) { return !entry.used.load(); });
    // Where all are in use, to displace one would only have it opened again.
    if (unused == lock->end()) return;
    displaced = kj::mv(*unused);
    std::move(unused + 1, lock->end(), unused);
    lock->removeLast();
  }
  lock->add(Entry(kj::mv(view)));
}

size_t DirectReads::sweep() const {
  return keep([](const Entry& entry) {
    return entry.used.exchange(false) && entry.view->standing() == StateView::Standing::CURRENT;
  });
}

void DirectReads::dropTakenBack() const {
  keep([](const Entry& entry) {
    return entry.view->standing() != StateView::Standing::TAKEN_BACK;
  });
}

ReadCounts DirectReads::counts() const {
  return {direct.load(), evicted.load(), takenBack.load(), broken.load()};
}

}  // namespace ledger::client
