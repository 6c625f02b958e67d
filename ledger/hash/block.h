// SPDX-License-Identifier: Apache-2.0
#pragma once
// A message in two pieces, cut into the padded blocks that a sponge absorbs. `static inline`, as
// all of a kernel (kernel.h).

#include "ledger/hash/keccak-round.h"
#include "ledger/hash/kernel.h"

namespace ledger::hash {

struct Block {
  const unsigned char* bytes;  // keccak::RATE.
  bool last;
};

static inline unsigned char* append(unsigned char* to, const unsigned char*& from, size_t& size,
                                    size_t count) {
  if (count == 0) return to;  // Then `from` may be null.
  memcpy(to, from, count);
  from += count;
  size -= count;
  return to + count;
}

// Takes the next block off the run: in place if it lies whole in one piece, else in `scratch`
// (keccak::RATE bytes).
static inline Block takeBlock(MessageRun& run, unsigned char* scratch) {
  using keccak::RATE;
  if (run.firstSize >= RATE) {
    const Block block = {run.first, false};
    run.first += RATE;
    run.firstSize -= RATE;
    return block;
  }
  if (run.firstSize == 0 && run.secondSize >= RATE) {
    const Block block = {run.second, false};
    run.second += RATE;
    run.secondSize -= RATE;
    return block;
  }
  const bool last = run.firstSize + run.secondSize < RATE;
  if (last) memset(scratch, 0, RATE);
  unsigned char* end = append(scratch, run.first, run.firstSize, run.firstSize);
  const size_t room = scratch + RATE - end;
  end = append(end, run.second, run.secondSize, run.secondSize < room ? run.secondSize : room);
  if (last) {
    *end = keccak::DOMAIN;
    scratch[RATE - 1] |= keccak::FINAL >> 56;
  }
  return {scratch, last};
}

}  // namespace ledger::hash
