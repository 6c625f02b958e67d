// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/payload-store.h"

#include <kj/debug.h>

#include <algorithm>
#include <bit>

namespace ledger {

namespace {

constexpr uint64_t PAGE_SIZE = 4096;
constexpr uint64_t HEADER_SPACE = 64;  // Of a segment: its header, padded to a cache line.

uint64_t roundUp(uint64_t bytes, uint64_t to) {
  return (bytes + to - 1) / to * to;
}

struct SizeClass {
  unsigned number;
  uint64_t space;
};

// Up to 1 KiB a class every 8 bytes; above, eight classes to each doubling.
SizeClass classOf(uint64_t bytes) {
  if (bytes <= 1024) {
    auto space = roundUp(bytes, 8);
    return {unsigned(space / 8 - 1), space};
  }
  unsigned doubling = std::bit_width(bytes - 1) - 11;  // 0 for (1 KiB, 2 KiB].
  uint64_t step = uint64_t(128) << doubling;
  auto space = roundUp(bytes, step);
  return {unsigned(128 + 8 * doubling + (space - (uint64_t(1024) << doubling)) / step - 1), space};
}

}  // namespace

PayloadStore::PayloadStore(kj::Own<const shm::MemoryBudget> budget, SegmentSizes sizes)
    : budget(kj::mv(budget)),
      sizes(sizes),
      bases(std::make_unique<std::atomic<kj::byte*>[]>(SEGMENTS)),
      counters(kj::atomicAddRef(*this->budget), *this, 1) {
  state.lockExclusive()->nextSize = sizes.first;
}

PayloadStore::~PayloadStore() noexcept(false) {}

uint64_t PayloadStore::spaceFor(Lengths lengths) {
  return classOf(sizeof(PayloadHeader) + uint64_t(lengths.key) + lengths.value).space;
}

kj::Maybe<shm::Shortage> PayloadStore::allocate(kj::ArrayPtr<const Lengths> lengths,
                                                kj::ArrayPtr<PayloadHandle> out) const {
  KJ_REQUIRE(lengths.size() == out.size());
  if (out.size() == 0) return nullptr;
  auto numbers = kj::heapArray<uint64_t>(out.size());
  KJ_IF_MAYBE (shortage, counters.allocate(numbers)) {
    return kj::mv(*shortage);
  }

  auto lock = state.lockExclusive();
  for (size_t i = 0; i < out.size(); ++i) {
    auto space = spaceFor(lengths[i]);
    KJ_IF_MAYBE (shortage, take(*lock, space, out[i].ref)) {
      for (size_t j = 0; j < i; ++j) giveBack(*lock, out[j].ref, spaceFor(lengths[j]));
      for (auto number : numbers) KJ_ASSERT(counters.release(number));
      counters.free(numbers);
      return kj::mv(*shortage);
    }
    out[i].counter = numbers[i];
    auto& header = writeHeader(out[i].ref);
    header.keyWord = lengths[i].key;
    header.valueLength = lengths[i].value;
  }
  return nullptr;
}

kj::Maybe<shm::Shortage> PayloadStore::take(State& state, uint64_t space, PayloadRef& out) const {
  auto& free = state.free[classOf(space).number];
  if (free.size() > 0) {
    out = free.back();
    free.removeLast();
    state.segments[out.segment()].live += space;
    state.liveBytes += space;
    return nullptr;
  }
  KJ_IF_MAYBE (current, state.current) {
    auto& segment = state.segments[*current];
    if (segment.memory->size() - segment.used >= space) {
      return takeFrom(state, *current, space, out);
    }
  }
  if (HEADER_SPACE + space > state.nextSize / 4) {
    return takeFrom(state, openSegment(state, roundUp(HEADER_SPACE + space, PAGE_SIZE)), space,
                    out);
  }
  auto number = openSegment(state, state.nextSize);
  state.nextSize = std::min(state.nextSize * 2, sizes.most);
  auto previous = state.current;
  state.current = number;
  // Nothing will be added to the previous one: if all it held is gone, so is its use.
  KJ_IF_MAYBE (p, previous) {
    if (state.segments[*p].live == 0) closeSegment(state, *p);
  }
  return takeFrom(state, number, space, out);
}

kj::Maybe<shm::Shortage> PayloadStore::takeFrom(State& state, uint32_t number, uint64_t space,
                                                PayloadRef& out) const {
  auto& segment = state.segments[number];
  auto end = segment.used + space;
  if (end > segment.committed) {
    auto target = std::min(segment.memory->size(),
                           roundUp(std::max(end, segment.committed + sizes.commitStep), PAGE_SIZE));
    auto more = target - segment.committed;
    kj::Maybe<shm::Shortage> refused;
    KJ_SWITCH_ONEOF(budget->reserve(more)) {
      KJ_CASE_ONEOF(shortage, shm::Shortage) {
        refused = kj::mv(shortage);
      }
      KJ_CASE_ONEOF(reserved, shm::Reservation) {
        segment.memory->commit(segment.committed, more, shm::Memfd::Warm::NO);
        segment.reservation.merge(kj::mv(reserved));
      }
    }
    if (refused != nullptr) {
      bool isCurrent = false;
      KJ_IF_MAYBE (current, state.current) {
        isCurrent = *current == number;
      }
      if (segment.live == 0 && !isCurrent) closeSegment(state, number);
      return refused;
    }
    if (segment.committed == 0) {
      *reinterpret_cast<SegmentHeader*>(segment.memory->bytes().begin()) = {
          PAYLOAD_MAGIC, LAYOUT_VERSION, number, segment.memory->size()};
    }
    segment.committed = target;
    state.committed += more;
  }
  out = PayloadRef(number, segment.used);
  segment.used = end;
  segment.live += space;
  state.liveBytes += space;
  return nullptr;
}

uint32_t PayloadStore::openSegment(State& state, uint64_t size) const {
  uint32_t number = 0;
  while (number < state.segments.size() && state.segments[number].memory.get() != nullptr) ++number;
  KJ_REQUIRE(number < SEGMENTS, "all value segments are in use", SEGMENTS);
  if (number == state.segments.size()) state.segments.add();
  auto& segment = state.segments[number];
  segment.memory = shm::Memfd::create("ledgerd-values", size);
  segment.used = HEADER_SPACE;
  bases[number].store(segment.memory->bytes().begin(), std::memory_order_release);
  return number;
}

void PayloadStore::closeSegment(State& state, uint32_t number) const {
  for (auto& free : state.free) {
    auto kept = std::remove_if(free.begin(), free.end(),
                               [&](PayloadRef ref) { return ref.segment() == number; });
    free.truncate(kept - free.begin());
  }
  state.committed -= state.segments[number].committed;
  bases[number].store(nullptr, std::memory_order_relaxed);
  state.segments[number] = Segment();
}

void PayloadStore::giveBack(State& state, PayloadRef ref, uint64_t space) const {
  auto& segment = state.segments[ref.segment()];
  segment.live -= space;
  state.liveBytes -= space;
  bool isCurrent = false;
  KJ_IF_MAYBE (current, state.current) {
    isCurrent = *current == ref.segment();
  }
  if (segment.live == 0 && !isCurrent) {
    closeSegment(state, ref.segment());
  } else {
    state.free[classOf(space).number].add(ref);
  }
}

void PayloadStore::write(PayloadRef ref, const Path& path, const Payload& payload) const {
  auto& header = writeHeader(ref);
  KJ_DASSERT(header.keyLength() == payload.key.size());
  KJ_DASSERT(header.valueLength == payload.value.size());
  header.path = path;
  auto bytes = reinterpret_cast<kj::byte*>(&header + 1);
  if (payload.key.size() > 0) memcpy(bytes, payload.key.begin(), payload.key.size());
  if (payload.value.size() > 0) {
    memcpy(bytes + payload.key.size(), payload.value.begin(), payload.value.size());
  }
}

void PayloadStore::release(PayloadHandle record) const {
  if (!counters.release(record.counter)) return;
  const auto& header = *view(record.ref).header;
  auto space = spaceFor({header.keyLength(), header.valueLength});
  giveBack(*state.lockExclusive(), record.ref, space);
  counters.free(kj::arrayPtr(&record.counter, 1));
}

uint64_t PayloadStore::liveBytes() const {
  return state.lockShared()->liveBytes;
}
uint64_t PayloadStore::committedBytes() const {
  return state.lockShared()->committed;
}

uint64_t PayloadStore::privateBytes() const {
  uint64_t bytes = counters.privateBytes();
  auto lock = state.lockShared();
  for (auto& free : lock->free) bytes += free.capacity() * sizeof(PayloadRef);
  return bytes;
}

}  // namespace ledger
