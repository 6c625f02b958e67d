// SPDX-License-Identifier: Apache-2.0
#include "shm/span-allocator.h"

#include <kj/debug.h>

#include <iterator>

namespace shm {
namespace {

// `length` must not exceed a capacity, which is itself a multiple of ALIGNMENT: cannot overflow.
uint64_t roundUp(uint64_t length) {
  return (length + SpanAllocator::ALIGNMENT - 1) & ~(SpanAllocator::ALIGNMENT - 1);
}

}  // namespace

SpanAllocator::SpanAllocator(uint64_t capacity) : most(capacity) {
  KJ_REQUIRE(capacity > 0 && capacity % ALIGNMENT == 0, "not a capacity for spans", capacity);
  insert(0, capacity);
}

kj::Maybe<Span> SpanAllocator::take(uint64_t length) {
  KJ_REQUIRE(length > 0, "a span of no bytes");
  if (length > most) return nullptr;
  const uint64_t taken = roundUp(length);
  auto best = byLength.lower_bound({taken, 0});
  if (best == byLength.end()) return nullptr;

  const auto [had, offset] = *best;
  remove(byOffset.find(offset));
  if (had > taken) insert(offset + taken, had - taken);
  return Span{offset, length};
}

void SpanAllocator::giveBack(Span span) {
  KJ_REQUIRE(span.offset % ALIGNMENT == 0 && span.offset < most && span.length > 0 &&
                 span.length <= most - span.offset,
             "not a span of this capacity", span.offset, span.length, most);
  uint64_t start = span.offset;
  uint64_t end = start + roundUp(span.length);

  auto after = byOffset.lower_bound(start);
  auto before = after == byOffset.begin() ? byOffset.end() : std::prev(after);
  KJ_REQUIRE(after == byOffset.end() || after->first >= end, "span is free already", span.offset,
             span.length);
  KJ_REQUIRE(before == byOffset.end() || before->first + before->second <= start,
             "span is free already", span.offset, span.length);

  if (after != byOffset.end() && after->first == end) {
    end += after->second;
    remove(after);
  }
  if (before != byOffset.end() && before->first + before->second == start) {
    start = before->first;
    remove(before);
  }
  insert(start, end - start);
}

uint64_t SpanAllocator::largestFree() const {
  return byLength.empty() ? 0 : byLength.rbegin()->first;
}

void SpanAllocator::insert(uint64_t offset, uint64_t length) {
  byOffset.emplace(offset, length);
  byLength.emplace(length, offset);
  unused += length;
}

void SpanAllocator::remove(Spans::iterator span) {
  byLength.erase({span->second, span->first});
  unused -= span->second;
  byOffset.erase(span);
}

}  // namespace shm
