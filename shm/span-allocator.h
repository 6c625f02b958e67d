// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which spans of an arena are free. Arithmetic only: no descriptor and no mapping.
//
// Best fit: a span is cut from the start of the smallest free one that holds it, the lowest among
// equals. Payloads of very different sizes live side by side, and best fit keeps the large holes
// whole. Freed neighbours coalesce at once, so two free spans never touch. O(log n) in free spans.

#include <kj/common.h>

#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace shm {

struct Span {
  uint64_t offset;
  uint64_t length;
};

// Thread: none of its own; the owner locks.
class SpanAllocator final {
public:
  // A power of two: a cache line, so that neighbours' readers and writers share none.
  static constexpr uint64_t ALIGNMENT = 64;

  // `capacity` is a positive multiple of ALIGNMENT.
  explicit SpanAllocator(uint64_t capacity);

  // A span of exactly `length` > 0 bytes at an aligned offset; up to the next multiple of ALIGNMENT
  // is taken. Null: no free span is long enough.
  kj::Maybe<Span> take(uint64_t length);

  // `span` must be one that take() returned and that was not given back. What overlaps a free span
  // or leaves the capacity throws, and changes nothing.
  void giveBack(Span span);

  uint64_t capacity() const { return most; }
  uint64_t free() const { return unused; }
  uint64_t largestFree() const;
  uint64_t freeSpans() const { return byOffset.size(); }

private:
  using Spans = std::map<uint64_t, uint64_t>;

  void insert(uint64_t offset, uint64_t length);
  void remove(Spans::iterator span);

  uint64_t most;
  uint64_t unused = 0;
  Spans byOffset;                                    // Offset to length, of free spans.
  std::set<std::pair<uint64_t, uint64_t>> byLength;  // The same ones: length, offset.
};

}  // namespace shm
