// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/payload-store.h"

#include <kj/debug.h>

#include <algorithm>
#include <bit>

namespace ledger {

namespace {

constexpr uint64_t HEADER_SPACE = 64;  // Of a segment: its header, padded to a cache line.

struct SizeClass {
  unsigned number;
  uint64_t space;
};

// Up to 1 KiB a class every 8 bytes; above, eight classes to each doubling.
SizeClass classOf(uint64_t bytes) {
  if (bytes <= 1024) {
    auto space = shm::roundUp(bytes, 8);
    return {unsigned(space / 8 - 1), space};
  }
  unsigned doubling = std::bit_width(bytes - 1) - 11;  // 0 for (1 KiB, 2 KiB].
  uint64_t step = uint64_t(128) << doubling;
  auto space = shm::roundUp(bytes, step);
  return {unsigned(128 + 8 * doubling + (space - (uint64_t(1024) << doubling)) / step - 1), space};
}

}  // namespace

PayloadStore::PayloadStore(kj::Own<const shm::MemoryBudget> budget, SegmentSizes sizes)
    : budget(kj::mv(budget)),
      retired(kj::atomicRefcounted<shm::RetiredArenas>()),
      sizes(sizes),
      bases(std::make_unique<std::atomic<kj::byte*>[]>(SEGMENTS)),
      counters(kj::atomicAddRef(*this->budget), *this, 1) {
  state.lockExclusive()->nextSize = sizes.first;
}

PayloadStore::~PayloadStore() noexcept(false) {}

PayloadStore::Segment::~Segment() noexcept(false) {
  if (memory.get() != nullptr) retired->add(kj::mv(memory));
}

PayloadStore::Segment PayloadStore::newSegment(uint64_t bytes) const {
  Segment segment;
  segment.memory = kj::atomicRefcounted<StoreSegment>("ledgerd-values"_kj,
                                                      shm::roundUp(bytes, shm::pageSize()));
  segment.retired = retired.get();
  return segment;
}

uint64_t PayloadStore::spaceFor(Lengths lengths) {
  return classOf(sizeof(PayloadHeader) + uint64_t(lengths.key) + lengths.value).space;
}

kj::Maybe<shm::Shortage> PayloadStore::allocate(kj::ArrayPtr<const Lengths> lengths,
                                                kj::ArrayPtr<PayloadHandle> out) const {
  auto shortage = tryAllocate(lengths, out);
  if (shortage == nullptr || retired->bytes() == 0) return shortage;
  retired->collect();
  return tryAllocate(lengths, out);
}

kj::Maybe<shm::Shortage> PayloadStore::tryAllocate(kj::ArrayPtr<const Lengths> lengths,
                                                   kj::ArrayPtr<PayloadHandle> out) const {
  KJ_REQUIRE(lengths.size() == out.size());
  if (out.size() == 0) return nullptr;
  kj::Vector<Segment> own;  // Of the large records, in their order.
  for (auto length : lengths) {
    KJ_REQUIRE(length.key <= MAX_KEY_SIZE && length.value <= MAX_VALUE_SIZE,
               "a key or value is too large", length.key, length.value);
    if (spaceFor(length) < ownSegmentFrom()) continue;
    KJ_IF_MAYBE (shortage, makeOwn(spaceFor(length), own.add())) return kj::mv(*shortage);
  }
  auto numbers = kj::heapArray<uint64_t>(out.size());
  KJ_IF_MAYBE (shortage, counters.allocate(numbers)) return kj::mv(*shortage);

  size_t taken = 0;
  kj::Vector<Segment> removed;  // Destroyed after the lock is given back.
  auto lock = state.lockExclusive();
  auto undo = [&]() {
    for (size_t i = 0; i < taken; ++i) {
      KJ_IF_MAYBE (segment, giveBack(*lock, out[i].ref, spaceFor(lengths[i]))) {
        removed.add(kj::mv(*segment));
      }
    }
    for (auto number : numbers) KJ_ASSERT(counters.release(number));
    counters.free(numbers);
  };
  KJ_ON_SCOPE_FAILURE(undo());
  auto nextOwn = own.begin();
  for (; taken < out.size(); ++taken) {
    auto space = spaceFor(lengths[taken]);
    auto& record = out[taken];
    if (space >= ownSegmentFrom()) {
      record.ref = carve(*lock, install(*lock, kj::mv(*nextOwn++)), space);
    } else {
      KJ_IF_MAYBE (shortage, take(*lock, space, record.ref)) {
        undo();
        return kj::mv(*shortage);
      }
    }
    record.counter = numbers[taken];
    auto& header = writeHeader(record.ref);
    header.keyWord = lengths[taken].key;
    header.valueLength = lengths[taken].value;
  }
  return nullptr;
}

kj::Maybe<shm::Shortage> PayloadStore::extend(Segment& segment, uint64_t end) const {
  auto& memory = *segment.memory;
  if (end <= memory.committed()) return nullptr;
  auto target = std::min(memory.capacity(), shm::roundUp(end, sizes.commitStep));
  auto more = target - memory.committed();
  auto reserved = budget->reserve(more);
  if (reserved.is<shm::Shortage>()) return kj::mv(reserved.get<shm::Shortage>());
  memory.commit(more, kj::mv(reserved.get<shm::Reservation>()));
  return nullptr;
}

kj::Maybe<shm::Shortage> PayloadStore::makeOwn(uint64_t space, Segment& out) const {
  out = newSegment(HEADER_SPACE + space);
  return extend(out, HEADER_SPACE + space);
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
    if (segment.memory->capacity() - segment.used >= space) {
      auto before = segment.memory->committed();
      KJ_IF_MAYBE (shortage, extend(segment, segment.used + space)) return kj::mv(*shortage);
      state.committed += segment.memory->committed() - before;
      out = carve(state, *current, space);
      return nullptr;
    }
  }
  Segment next = newSegment(state.nextSize);
  next.shared = true;
  KJ_IF_MAYBE (shortage, extend(next, HEADER_SPACE + space)) return kj::mv(*shortage);
  auto number = install(state, kj::mv(next));
  state.nextSize = std::min(state.nextSize * 2, sizes.most);
  auto previous = state.current;
  state.current = number;
  // Nothing new goes into the previous one: if all it held is gone, so is its use.
  KJ_IF_MAYBE (p, previous) {
    if (state.segments[*p].live == 0) remove(state, *p);
  }
  out = carve(state, number, space);
  return nullptr;
}

// The next `space` bytes of a segment, which are committed.
PayloadRef PayloadStore::carve(State& state, uint32_t number, uint64_t space) const {
  auto& segment = state.segments[number];
  PayloadRef result(number, segment.used);
  segment.used += space;
  segment.live += space;
  state.liveBytes += space;
  return result;
}

uint32_t PayloadStore::install(State& state, Segment segment) const {
  uint32_t number = 0;
  while (number < state.segments.size() && state.segments[number].memory.get() != nullptr) ++number;
  KJ_REQUIRE(number < SEGMENTS, "all value segments are in use", SEGMENTS);
  if (number == state.segments.size()) state.segments.add();
  auto bytes = segment.memory->bytes();
  *reinterpret_cast<SegmentHeader*>(bytes.begin()) = {PAYLOAD_MAGIC, LAYOUT_VERSION, number,
                                                      bytes.size()};
  segment.used = HEADER_SPACE;
  state.committed += segment.memory->committed();
  byAddress.lockExclusive()->emplace(bytes.begin(), kj::atomicAddRef(*segment.memory));
  state.segments[number] = kj::mv(segment);
  // Release; pairs with the acquire in at().
  bases[number].store(bytes.begin(), std::memory_order_release);
  return number;
}

PayloadStore::Segment PayloadStore::remove(State& state, uint32_t number) const {
  auto segment = kj::mv(state.segments[number]);
  state.segments[number] = Segment();
  bases[number].store(nullptr, std::memory_order_relaxed);
  state.committed -= segment.memory->committed();
  byAddress.lockExclusive()->erase(segment.memory->bytes().begin());
  if (segment.shared) {
    for (auto& free : state.free) {
      auto kept = std::remove_if(free.begin(), free.end(),
                                 [&](PayloadRef ref) { return ref.segment() == number; });
      free.truncate(kept - free.begin());
    }
  }
  return segment;
}

kj::Maybe<PayloadStore::Segment> PayloadStore::giveBack(State& state, PayloadRef ref,
                                                        uint64_t space) const {
  auto& segment = state.segments[ref.segment()];
  segment.live -= space;
  state.liveBytes -= space;
  bool isCurrent = false;
  KJ_IF_MAYBE (current, state.current) isCurrent = *current == ref.segment();
  if (segment.live == 0 && !isCurrent) return remove(state, ref.segment());
  state.free[classOf(space).number].add(ref);
  return nullptr;
}

LocatedValues PayloadStore::locate(kj::ArrayPtr<const Value> values) const {
  auto spans = kj::heapArrayBuilder<LocatedValues::Span>(values.size());
  kj::Vector<kj::Own<const StoreSegment>> segments;
  std::map<const StoreSegment*, uint32_t> indices;  // Of segments.
  auto starts = byAddress.lockShared();
  for (auto& value : values) {
    auto found = starts->upper_bound(value.begin());
    KJ_REQUIRE(found != starts->begin(), "bytes that lie in no segment");
    --found;
    auto& segment = *found->second;
    const uint64_t offset = value.begin() - found->first;
    KJ_REQUIRE(offset + value.size() <= segment.capacity(), "bytes that lie in no segment");
    auto [index, isNew] = indices.try_emplace(&segment, segments.size());
    if (isNew) segments.add(kj::atomicAddRef(segment));
    spans.add(LocatedValues::Span{index->second, offset, value.size()});
  }
  return {segments.releaseAsArray(), spans.finish()};
}

kj::Array<NumberedSegment> PayloadStore::segments() const {
  auto lock = state.lockShared();
  kj::Vector<NumberedSegment> result(lock->segments.size());
  for (uint32_t number = 0; number < lock->segments.size(); ++number) {
    auto& memory = lock->segments[number].memory;
    if (memory.get() == nullptr) continue;
    result.add(NumberedSegment{number, memory->committed(), kj::atomicAddRef(*memory)});
  }
  return result.releaseAsArray();
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
  // Outlives the lock.
  auto removed = giveBack(*state.lockExclusive(), record.ref, space);
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
