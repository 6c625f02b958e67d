// SPDX-License-Identifier: Apache-2.0
#pragma once
// All arenas of one session towards one peer, and the regions lent from them.
//
// The session starts with nothing. Small payloads share one arena, which is succeeded by one twice
// as large when it is full. A payload larger than a quarter of it gets an arena of its own.
// Everything comes out of the session's quota and of the budgets above it. An arena that was
// outgrown is closed when its last region is dropped; one of a large payload is kept warm for the
// next, up to a limit, because first touch costs several times the copy. An unused arena that the
// peer still has open is never closed, since its memory would not come back, but lent again. What
// one session's arenas held is never shown to another session: no arena ever changes its set.

#include "shm/arena.h"
#include "shm/retired-arenas.h"
#include "shm/span-allocator.h"

#include <kj/mutex.h>
#include <kj/vector.h>

#include <map>

namespace shm {

class ArenaSet;

// A lent span of an arena. Move-only; it may be dropped on any thread, also after the set's
// close(). The last of an arena may close that arena: 16 ms a GiB. Thread: one owner at a time.
class Region final {
public:
  Region(Region&& other) noexcept = default;
  Region& operator=(Region&& other) = delete;
  ~Region() noexcept(false);

  uint32_t arenaId() const { return arena->id(); }
  Span span() const { return where; }    // Bytes from the start of the arena.
  kj::ArrayPtr<kj::byte> bytes() const;  // Valid while this Region lives.

private:
  friend class ArenaSet;
  Region(kj::Own<const ArenaSet> set, kj::Own<const Arena> arena, Span where);

  kj::Own<const ArenaSet> set;  // Null once moved from.
  kj::Own<const Arena> arena;
  Span where;
};

// Why nothing was lent.
struct Refusal {
  // MEMORY: `limit` names a memory budget. COUNT: too many regions or arenas at the same time.
  enum class Cause { MEMORY, COUNT, CLOSED } cause;
  kj::String message;
  kj::String limit;  // What was reached: "--arena-size", "regions"; empty if CLOSED.
  uint64_t needed;   // Bytes, or things.
  uint64_t free;     // Bytes, or things.
};

struct ArenaSetOptions {
  uint64_t quota = uint64_t(1) << 30;          // Bytes of all arenas together.
  kj::StringPtr quotaName = "--arena-size";    // For errors.
  uint64_t firstCapacity = uint64_t(1) << 20;  // Bytes of the first shared arena.
  uint64_t warmBytes = uint64_t(256) << 20;    // Of unused arenas of large payloads.
  uint32_t maxRegions = 65536;                 // Lent at the same time.
  uint32_t maxArenas = 128;                    // Not closed: each holds a descriptor.
};

struct ArenaUse {
  uint32_t id;
  uint64_t capacity, lent;  // Bytes.
  uint32_t regions;
};

struct ArenaSetUse {
  uint64_t committed;  // Bytes, with those that were closed and that the peer still holds.
  uint64_t lent;       // Bytes.
  uint32_t regions;
  kj::Array<ArenaUse> arenas;  // Those that are not closed, by id.
};

// Thread: every method is const and may be called from any thread.
class ArenaSet final : public kj::AtomicRefcounted {
public:
  static kj::Own<const ArenaSet> create(const MemoryBudget& parent,
                                        kj::Own<const RetiredArenas> retired,
                                        ArenaSetOptions options = {});

  // `length` > 0 bytes, in one piece. May have to make an arena (0.3 s a GiB), or wait for a thread
  // that does: not on an event loop. Throws if the kernel refuses the memory.
  kj::OneOf<Region, Refusal> lend(uint64_t length) const;

  // The same from what is warm, at once: may be called on an event loop. Null: ask lend().
  kj::Maybe<Region> tryLend(uint64_t length) const;

  // An id that no arena of this set has or will have. The session's ids are all from here.
  uint32_t takeId() const;

  // Null: never existed, or closed.
  kj::Maybe<kj::Own<const Arena>> find(uint32_t id) const;

  // Closes the unused arenas that are over the warm limit and that the peer has let go of since.
  // To be called from time to time.
  void sweep() const;

  // Closes every unused arena that the peer has let go of: gives memory back to others.
  void trim() const;

  // Ends lending and closes every arena. Regions that are still held stay valid and keep their
  // memory until they are dropped. Calling it again changes nothing.
  void close() const;

  ArenaSetUse use() const;

  ArenaSet(kj::Own<const MemoryBudget> budget, kj::Own<const RetiredArenas> retired,
           ArenaSetOptions options);  // Use create().
  ~ArenaSet() noexcept(false);

private:
  friend class Region;
  enum class Role { SHARED, OUTGROWN, SINGLE };
  struct Slot {
    kj::Own<const Arena> arena;
    SpanAllocator spans;
    uint32_t regions;
    Role role;
  };
  struct State {
    std::map<uint32_t, Slot> slots;  // By id.
    kj::Maybe<uint32_t> shared;      // The slot that small payloads go to.
    uint32_t lastId = 0;
    uint32_t regions = 0;
    uint64_t lent = 0;  // Bytes.
    bool closed = false;
  };
  using Closed = kj::Vector<kj::Own<const Arena>>;
  enum class Fit { ITS_PLACE, ANYWHERE };

  bool isLarge(const State& state, uint64_t length) const;
  kj::Maybe<Region> place(State& state, uint64_t length, Fit fit) const;
  kj::Maybe<Region> placeIn(State& state, Slot& slot, uint64_t length) const;
  kj::Maybe<Refusal> refusal(const State& state) const;
  kj::OneOf<Region, Refusal> grow(uint64_t length) const;
  kj::OneOf<Region, Refusal> addArena(uint64_t capacity, Role role, uint64_t length) const;
  void giveBack(const Arena& arena, Span span) const;
  void retire(Closed arenas) const;
  static void closeUnused(State& state, uint64_t warmBytes, Closed& closed);

  const kj::Own<const MemoryBudget> budget;  // The session's quota.
  const kj::Own<const RetiredArenas> retired;
  const ArenaSetOptions options;
  kj::MutexGuarded<State> state;  // Held for a few lines, never while memory is made or unmapped.
  struct Growing {};
  kj::MutexGuarded<Growing> growing;  // Held by the one thread that makes an arena; before `state`.
};

}  // namespace shm
