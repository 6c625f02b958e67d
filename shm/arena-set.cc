// SPDX-License-Identifier: Apache-2.0
#include "shm/arena-set.h"

#include <kj/debug.h>

#include <limits>
#include <utility>

namespace shm {

// -- Region

Region::Region(kj::Own<const ArenaSet> set, kj::Own<const Arena> arena, Span where)
    : set(kj::mv(set)), arena(kj::mv(arena)), where(where) {}

Region::~Region() noexcept(false) {
  if (set.get() != nullptr) set->giveBack(*arena, where);
}

kj::ArrayPtr<kj::byte> Region::bytes() const {
  return arena->bytes().slice(where.offset, where.offset + where.length);
}

// -- ArenaSet: lending

kj::Own<const ArenaSet> ArenaSet::create(const MemoryBudget& parent,
                                         kj::Own<const RetiredArenas> retired,
                                         ArenaSetOptions options) {
  auto budget = MemoryBudget::createUnder(parent, options.quotaName, options.quota);
  return kj::atomicRefcounted<ArenaSet>(kj::mv(budget), kj::mv(retired), options);
}

ArenaSet::ArenaSet(kj::Own<const MemoryBudget> budget, kj::Own<const RetiredArenas> retired,
                   ArenaSetOptions options)
    : budget(kj::mv(budget)), retired(kj::mv(retired)), options(options) {
  KJ_REQUIRE(options.firstCapacity > 0 && options.firstCapacity <= options.quota,
             "the first arena does not fit the quota", options.firstCapacity, options.quota);
}

ArenaSet::~ArenaSet() noexcept(false) {
  close();
}

kj::OneOf<Region, Refusal> ArenaSet::lend(uint64_t length) const {
  KJ_IF_MAYBE (region, tryLend(length)) {
    return kj::mv(*region);
  }

  auto turn = growing.lockExclusive();
  {
    auto locked = state.lockExclusive();
    KJ_IF_MAYBE (refused, refusal(*locked)) {
      return kj::mv(*refused);
    }
    // Another thread may have made room while this one waited for its turn.
    KJ_IF_MAYBE (region, place(*locked, length, Fit::ITS_PLACE)) {
      return kj::mv(*region);
    }
  }
  auto answer = grow(length);
  KJ_IF_MAYBE (refused, answer.tryGet<Refusal>()) {
    if (refused->cause != Refusal::Cause::CLOSED) {
      trim();  // Unused arenas take memory, and places among the arenas.
      retired->collect();
      answer = grow(length);
    }
  }
  if (answer.is<Refusal>()) {
    auto locked = state.lockExclusive();
    KJ_IF_MAYBE (refused, refusal(*locked)) {
      return kj::mv(*refused);
    }
    KJ_IF_MAYBE (region, place(*locked, length, Fit::ANYWHERE)) {
      return kj::mv(*region);
    }
  }
  return answer;
}

kj::Maybe<Region> ArenaSet::tryLend(uint64_t length) const {
  KJ_REQUIRE(length > 0, "a region of no bytes");
  auto locked = state.lockExclusive();
  if (refusal(*locked) != nullptr) return nullptr;
  return place(*locked, length, Fit::ITS_PLACE);
}

kj::Maybe<Refusal> ArenaSet::refusal(const State& state) const {
  if (state.closed) {
    return Refusal{Refusal::Cause::CLOSED, kj::str("the session is closed"), kj::String(), 0, 0};
  }
  if (state.regions >= options.maxRegions) {
    return Refusal{Refusal::Cause::COUNT,
                   kj::str("the session holds all of its ", options.maxRegions, " regions"),
                   kj::str("regions"), 1, 0};
  }
  return nullptr;
}

bool ArenaSet::isLarge(const State& state, uint64_t length) const {
  uint64_t capacity = options.firstCapacity;
  KJ_IF_MAYBE (id, state.shared) {
    capacity = state.slots.at(*id).arena->capacity();
  }
  return length > capacity / 4;
}

kj::Maybe<Region> ArenaSet::place(State& state, uint64_t length, Fit fit) const {
  if (!isLarge(state, length)) {
    KJ_IF_MAYBE (id, state.shared) {
      KJ_IF_MAYBE (region, placeIn(state, state.slots.at(*id), length)) {
        return kj::mv(*region);
      }
    }
  }
  // The smallest single arena that is unused and fits; for a small payload only in need.
  Slot* best = nullptr;
  for (auto& [id, slot] : state.slots) {
    const bool fits = slot.role == Role::SINGLE && slot.regions == 0 &&
                      slot.arena->capacity() >= length &&
                      (fit == Fit::ANYWHERE || slot.arena->capacity() / 4 <= length);
    if (fits && (best == nullptr || slot.arena->capacity() < best->arena->capacity())) {
      best = &slot;
    }
  }
  if (best != nullptr) return placeIn(state, *best, length);
  if (fit == Fit::ITS_PLACE) return nullptr;

  // No memory for a better place: whatever has room.
  for (auto& [id, slot] : state.slots) {
    if (slot.role == Role::SINGLE) continue;
    KJ_IF_MAYBE (region, placeIn(state, slot, length)) {
      return kj::mv(*region);
    }
  }
  return nullptr;
}

kj::Maybe<Region> ArenaSet::placeIn(State& state, Slot& slot, uint64_t length) const {
  KJ_IF_MAYBE (span, slot.spans.take(length)) {
    ++slot.regions;
    ++state.regions;
    state.lent += length;
    return Region(kj::atomicAddRef(*this), kj::atomicAddRef(*slot.arena), *span);
  }
  return nullptr;
}

void ArenaSet::giveBack(const Arena& arena, Span span) const {
  Closed closed;
  {
    auto locked = state.lockExclusive();
    --locked->regions;
    locked->lent -= span.length;
    auto found = locked->slots.find(arena.id());
    if (found == locked->slots.end()) return;  // Closed with the set.
    found->second.spans.giveBack(span);
    --found->second.regions;
    if (found->second.regions == 0) closeUnused(*locked, options.warmBytes, closed);
  }
  retire(kj::mv(closed));
}

// -- ArenaSet: making and closing arenas

kj::OneOf<Region, Refusal> ArenaSet::grow(uint64_t length) const {
  bool large;
  uint64_t next = options.firstCapacity;
  {
    auto locked = state.lockShared();
    large = isLarge(*locked, length);
    KJ_IF_MAYBE (id, locked->shared) {
      next = locked->slots.at(*id).arena->capacity() * 2;
    }
  }
  if (large) return addArena(length, Role::SINGLE, length);

  // Twice as large if there is memory for it, else as large as there is.
  for (next = kj::min(next, options.quota);; next /= 2) {
    auto answer = addArena(next, Role::SHARED, length);
    KJ_IF_MAYBE (refused, answer.tryGet<Refusal>()) {
      const bool smaller = next / 2 >= kj::max(options.firstCapacity, length);
      if (refused->cause == Refusal::Cause::MEMORY && smaller) continue;
    }
    return answer;
  }
}

kj::OneOf<Region, Refusal> ArenaSet::addArena(uint64_t capacity, Role role, uint64_t length) const {
  auto tooLittle = [](Shortage shortage) {
    return Refusal{Refusal::Cause::MEMORY, shortage.describe(), kj::mv(shortage.budget),
                   shortage.needed, shortage.free};
  };
  if (capacity > options.quota) {
    return tooLittle(
        {kj::str(budget->name()), capacity, options.quota - budget->used(), options.quota});
  }
  if (state.lockShared()->slots.size() >= options.maxArenas) {
    return Refusal{Refusal::Cause::COUNT,
                   kj::str("the session holds all of its ", options.maxArenas, " arenas"),
                   kj::str("arenas"), 1, 0};
  }
  auto answer = Arena::create(takeId(), capacity, *budget);
  KJ_IF_MAYBE (shortage, answer.tryGet<Shortage>()) {
    return tooLittle(kj::mv(*shortage));
  }
  auto& arena = answer.get<kj::Own<const Arena>>();

  Closed closed;
  KJ_DEFER(retire(kj::mv(closed)));  // Without the lock.
  auto locked = state.lockExclusive();
  KJ_IF_MAYBE (refused, refusal(*locked)) {
    return kj::mv(*refused);
  }  // Meanwhile; `arena` goes.
  const uint32_t id = arena->id();
  SpanAllocator spans(arena->capacity());
  auto& slot = locked->slots.emplace(id, Slot{kj::mv(arena), kj::mv(spans), 0, role}).first->second;
  if (role == Role::SHARED) {
    KJ_IF_MAYBE (old, locked->shared) {
      locked->slots.at(*old).role = Role::OUTGROWN;
    }
    locked->shared = id;
    closeUnused(*locked, options.warmBytes, closed);
  }
  // In the same step, or another thread could take the room. Last, since a region that an exception
  // drops would wait for the lock that is held here.
  return KJ_ASSERT_NONNULL(placeIn(*locked, slot, length), capacity, length);
}

void ArenaSet::closeUnused(State& state, uint64_t warmBytes, Closed& closed) {
  uint64_t warm = 0;
  // Newest first: the sizes that are asked for now stay warm.
  for (auto slot = state.slots.end(); slot != state.slots.begin();) {
    --slot;
    auto& [arena, spans, regions, role] = slot->second;
    if (regions > 0 || role == Role::SHARED) continue;
    if (role == Role::SINGLE && arena->capacity() <= warmBytes - warm) {
      warm += arena->capacity();
    } else if (arena->isOpenElsewhere()) {
      role = Role::SINGLE;  // Closing it would give nothing back: better lend it again.
    } else {
      closed.add(kj::mv(arena));
      slot = state.slots.erase(slot);
    }
  }
}

void ArenaSet::retire(Closed arenas) const {
  for (auto& arena : arenas) retired->add(kj::mv(arena));
}

void ArenaSet::sweep() const {
  Closed closed;
  closeUnused(*state.lockExclusive(), options.warmBytes, closed);
  retire(kj::mv(closed));
}

void ArenaSet::trim() const {
  Closed closed;
  {
    auto locked = state.lockExclusive();
    KJ_IF_MAYBE (id, locked->shared) {
      auto& slot = locked->slots.at(*id);
      if (slot.regions == 0) {
        slot.role = Role::OUTGROWN;
        locked->shared = nullptr;
      }
    }
    closeUnused(*locked, 0, closed);
  }
  retire(kj::mv(closed));
}

void ArenaSet::close() const {
  Closed closed;
  {
    auto locked = state.lockExclusive();
    locked->closed = true;
    for (auto& [id, slot] : locked->slots) closed.add(kj::mv(slot.arena));
    locked->slots.clear();
    locked->shared = nullptr;
  }
  retire(kj::mv(closed));
}

// -- ArenaSet: looking

uint32_t ArenaSet::takeId() const {
  auto locked = state.lockExclusive();
  KJ_REQUIRE(locked->lastId < std::numeric_limits<uint32_t>::max(),
             "the session has used up its arena ids: reconnect");
  return ++locked->lastId;
}

kj::Maybe<kj::Own<const Arena>> ArenaSet::find(uint32_t id) const {
  auto locked = state.lockShared();
  auto found = locked->slots.find(id);
  if (found == locked->slots.end()) return nullptr;
  return kj::atomicAddRef(*found->second.arena);
}

ArenaSetUse ArenaSet::use() const {
  auto locked = state.lockShared();
  auto arenas = kj::heapArrayBuilder<ArenaUse>(locked->slots.size());
  for (auto& [id, slot] : locked->slots) {
    arenas.add(ArenaUse{id, slot.arena->capacity(), slot.spans.capacity() - slot.spans.free(),
                        slot.regions});
  }
  return {budget->used(), locked->lent, locked->regions, arenas.finish()};
}

}  // namespace shm
