// SPDX-License-Identifier: Apache-2.0
#pragma once
// A lane kernel over W, a vector that holds one word of W::COUNT states (keccak-round.h). What
// passes from one level of a chain to the next stays in vectors; a job's own bytes are loaded and
// stored by rows, one row per lane, and turned in registers.
//
// Included by one source per instruction set, where W is of internal linkage: so is then every
// instantiation, and the linker cannot choose this set's copy of a function for code that must run
// on any CPU. For the same reason nothing here calls an inline function of KJ or std; what
// intrinsics are is always inlined.
//
// W has, besides what keccak-round.h needs:
//   mask(bits)           of the lanes whose bit is set
//   select(mask, a, b)   a in the lanes of the mask, b in the others
//   loadRows(out, rows, offset)   out[i] in lane k = word i of the 32 bytes at rows[k] + offset
//   loadWords(rows, offset)       in lane k the word at rows[k] + offset
//   storeRows(in, rows)  the reverse of loadRows

#include "ledger/hash/block.h"
#include "ledger/hash/keccak-round.h"
#include "ledger/hash/kernel.h"

namespace ledger::hash {

// Fewer jobs than this are not worth a vector: a vector permutation of either width costs more than
// one scalar permutation and less than two (AVX2: measured; AVX-512: by its instructions).
constexpr unsigned LEAST_BUSY_LANES = 2;

template <typename W>
class Lanes {
public:
  static constexpr LaneKernel kernel() {
    static_assert(COUNT <= MAX_LANES);
    return {COUNT, &permute, &hashPairs, &runChains, &runMessages};
  }

private:
  static constexpr unsigned COUNT = W::COUNT;

  static void permute(uint64_t* states) {
    W a[keccak::WORDS];
    memcpy(a, states, sizeof(a));
    keccak::permute(a);
    memcpy(states, a, sizeof(a));
  }

  static void hashPairs(const unsigned char* const* left, const unsigned char* const* right,
                        unsigned char* const* out) {
    // Every input is loaded before an output, which may be the same hash, is stored.
    W l[4], r[4];
    W::loadRows(l, left, 0);
    W::loadRows(r, right, 0);
    keccak::hashPair(l, r, l);
    W::storeRows(l, out);
  }

  // Climbs `levels` levels in every lane.
  static void climb(W (&hash)[4], const ChainRun (&runs)[COUNT], unsigned levels,
                    const unsigned char* defaults) {
    for (unsigned level = 0; level < levels; ++level) {
      const unsigned char* rows[COUNT];
      unsigned bits = 0;
      for (unsigned lane = 0; lane < COUNT; ++lane) {
        const unsigned height = runs[lane].height + level;
        bits |= isRight(runs[lane], height) << lane;
        rows[lane] = defaults + height * HASH_SIZE;
      }
      const auto right = W::mask(bits);
      W siblings[4], l[4], r[4];
      W::loadRows(siblings, rows, 0);
      for (unsigned i = 0; i < 4; ++i) {
        l[i] = W::select(right, siblings[i], hash[i]);
        r[i] = W::select(right, hash[i], siblings[i]);
      }
      keccak::hashPair(l, r, hash);
    }
  }

  static size_t runChains(Source<ChainRun> source, const unsigned char* defaults,
                          UnfinishedChain* unfinished) {
    // What an idle lane climbs, over and over; nobody sees the result.
    static constexpr unsigned char NOTHING[HASH_SIZE] = {};
    constexpr ChainRun IDLE = {NOTHING, NOTHING, 0, nullptr, nullptr, nullptr};

    ChainRun runs[COUNT];
    unsigned char rows[COUNT][HASH_SIZE];
    unsigned char* rowPointers[COUNT];
    const unsigned char* from[COUNT];
    unsigned busy = 0;
    auto fill = [&](unsigned lane) {
      if (source.next(source.context, runs[lane])) {
        ++busy;
      } else {
        runs[lane] = IDLE;
      }
      from[lane] = runs[lane].hash;
    };
    auto isBusy = [&](unsigned lane) { return runs[lane].stops != nullptr; };

    for (unsigned lane = 0; lane < COUNT; ++lane) {
      rowPointers[lane] = rows[lane];
      fill(lane);
    }
    while (busy >= LEAST_BUSY_LANES) {
      unsigned levels = TOP_HEIGHT;
      for (unsigned lane = 0; lane < COUNT; ++lane) {
        if (!isBusy(lane)) continue;
        const unsigned toStop = *runs[lane].stops - runs[lane].height;
        if (toStop < levels) levels = toStop;
      }
      W hash[4];
      W::loadRows(hash, from, 0);
      climb(hash, runs, levels, defaults);
      W::storeRows(hash, rowPointers);
      for (unsigned lane = 0; lane < COUNT; ++lane) {
        if (!isBusy(lane)) continue;
        runs[lane].height += levels;
        from[lane] = rows[lane];
        if (settle(runs[lane], rows[lane])) continue;
        --busy;
        fill(lane);
      }
    }

    size_t count = 0;
    for (unsigned lane = 0; lane < COUNT; ++lane) {
      if (!isBusy(lane)) continue;
      UnfinishedChain& rest = unfinished[count++];
      memcpy(rest.hash, from[lane], HASH_SIZE);
      rest.run = runs[lane];
      rest.run.hash = rest.hash;
    }
    return count;
  }

  // XORs a block per lane into the states. A lane of `fresh` begins with a state of zeros.
  static void addBlocks(W (&a)[keccak::WORDS], const unsigned char* const (&blocks)[COUNT],
                        unsigned fresh) {
    if (fresh != 0) {
      const auto begins = W::mask(fresh);
      for (auto& word : a) word = W::select(begins, W::all(0), word);
    }
    for (unsigned word = 0; word + 4 <= keccak::RATE_WORDS; word += 4) {
      W four[4];
      W::loadRows(four, blocks, word * sizeof(uint64_t));
      for (unsigned i = 0; i < 4; ++i) a[word + i] = a[word + i] ^ four[i];
    }
    static_assert(keccak::RATE_WORDS % 4 == 1);
    a[keccak::RATE_WORDS - 1] = a[keccak::RATE_WORDS - 1] ^
                                W::loadWords(blocks, (keccak::RATE_WORDS - 1) * sizeof(uint64_t));
  }

  static size_t runMessages(Source<MessageRun> source, UnfinishedMessage* unfinished) {
    // What an idle lane absorbs.
    static constexpr unsigned char NOTHING[keccak::RATE] = {};

    MessageRun runs[COUNT];
    alignas(64) unsigned char scratch[COUNT][192];  // keccak::RATE, and on to a cache line.
    unsigned char dropped[HASH_SIZE];
    W a[keccak::WORDS];
    unsigned busy = 0;
    unsigned fresh = 0;  // Lanes that begin a message.
    auto fill = [&](unsigned lane) {
      if (source.next(source.context, runs[lane])) {
        ++busy;
      } else {
        runs[lane].out = nullptr;
      }
      fresh |= 1u << lane;
    };
    auto isBusy = [&](unsigned lane) { return runs[lane].out != nullptr; };

    for (auto& word : a) word = W::all(0);
    for (unsigned lane = 0; lane < COUNT; ++lane) fill(lane);
    while (busy >= LEAST_BUSY_LANES) {
      const unsigned char* blocks[COUNT];
      unsigned char* out[COUNT];
      unsigned ended = 0;
      for (unsigned lane = 0; lane < COUNT; ++lane) {
        blocks[lane] = NOTHING;
        out[lane] = dropped;
        if (!isBusy(lane)) continue;
        const Block block = takeBlock(runs[lane], scratch[lane]);
        blocks[lane] = block.bytes;
        if (!block.last) continue;
        out[lane] = runs[lane].out;
        ended |= 1u << lane;
      }
      addBlocks(a, blocks, fresh);
      fresh = 0;
      keccak::permute(a);
      if (ended == 0) continue;
      const W hash[4] = {a[0], a[1], a[2], a[3]};
      W::storeRows(hash, out);
      for (unsigned lane = 0; lane < COUNT; ++lane) {
        if ((ended >> lane & 1) == 0) continue;
        --busy;
        fill(lane);
      }
    }

    uint64_t words[keccak::WORDS][COUNT];
    static_assert(sizeof(words) == sizeof(a));
    memcpy(words, a, sizeof(words));
    size_t count = 0;
    for (unsigned lane = 0; lane < COUNT; ++lane) {
      if (!isBusy(lane)) continue;
      UnfinishedMessage& rest = unfinished[count++];
      rest.run = runs[lane];
      const bool begins = fresh >> lane & 1;
      for (unsigned i = 0; i < keccak::WORDS; ++i) rest.state[i] = begins ? 0 : words[i][lane];
    }
    return count;
  }
};

}  // namespace ledger::hash
