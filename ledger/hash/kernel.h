// SPDX-License-Identifier: Apache-2.0
#pragma once
// What code for one instruction set offers to sha3.cc: a table of functions.
//
// A lane kernel runs jobs side by side and takes the next as soon as a lane is free. When too few
// are left to be worth its lanes, it hands those back as far as they got, and a scalar kernel
// finishes them.
//
// Jobs are plain pointers and sizes: everything in them has been checked, and code for a wider
// instruction set must not share an inline function, not even an accessor, with other code
// (lane-kernel.h). `static inline` is therefore meant.

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ledger::hash {

constexpr unsigned MAX_LANES = 8;
constexpr unsigned STATE_WORDS = 25;
constexpr size_t HASH_SIZE = 32;
constexpr unsigned TOP_HEIGHT = 256;  // TRIE_HEIGHT.

// A chain on its way up: `hash` is its hash at `height`, stops[0] > height is where it is written
// to out[0], and so on until `stopsEnd`.
struct ChainRun {
  const unsigned char* path;
  const unsigned char* hash;
  unsigned height;
  const uint16_t* stops;
  const uint16_t* stopsEnd;
  unsigned char* out;  // HASH_SIZE for each stop.
};

// A message of which whole blocks may have been absorbed: what is left of it.
struct MessageRun {
  const unsigned char* first;
  size_t firstSize;
  const unsigned char* second;
  size_t secondSize;
  unsigned char* out;
};

// Where runs come from: `next` fills in one, or returns false for good.
template <typename Run>
struct Source {
  bool (*next)(void* context, Run& run);
  void* context;
};

struct UnfinishedChain {
  ChainRun run;  // run.hash is the one below.
  unsigned char hash[HASH_SIZE];
};

struct UnfinishedMessage {
  MessageRun run;
  uint64_t state[STATE_WORDS];  // After the blocks that were absorbed.
};

// `defaults`: the default hashes by height, HASH_SIZE bytes each.
struct ScalarKernel {
  void (*permute)(uint64_t* state);
  void (*hashPair)(const unsigned char* left, const unsigned char* right, unsigned char* out);
  void (*finishChain)(ChainRun& run, const unsigned char* defaults);
  void (*finishMessage)(MessageRun& run, const uint64_t* state);
};

struct LaneKernel {
  unsigned lanes;
  // Of `lanes` states, whose words alternate: state[word * lanes + lane]. For measurements.
  void (*permute)(uint64_t* states);
  // out[i] = the hash of left[i] and right[i], for each lane. Each out[i] may be left[i] or
  // right[i].
  void (*hashPairs)(const unsigned char* const* left, const unsigned char* const* right,
                    unsigned char* const* out);
  // The count of unfinished runs, at most `lanes`.
  size_t (*runChains)(Source<ChainRun> source, const unsigned char* defaults,
                      UnfinishedChain* unfinished);
  size_t (*runMessages)(Source<MessageRun> source, UnfinishedMessage* unfinished);
};

extern const ScalarKernel SCALAR_KERNEL;
extern const ScalarKernel BMI2_KERNEL;
extern const LaneKernel AVX2_KERNEL;
extern const LaneKernel AVX512_KERNEL;

// Whether the run's hash, were it at `height`, is the right child of the node above: that node
// stands at depth TOP_HEIGHT - height - 1, and the path's bit there, counted from the most
// significant, chooses.
static inline unsigned isRight(const ChainRun& run, unsigned height) {
  const unsigned bit = TOP_HEIGHT - height - 1;
  return run.path[bit / 8] >> (7 - bit % 8) & 1;
}

// Writes `hash`, the run's at its height, wherever it is due. False at the end of the run.
static inline bool settle(ChainRun& run, const unsigned char* hash) {
  while (run.stops != run.stopsEnd && *run.stops == run.height) {
    memcpy(run.out, hash, HASH_SIZE);
    run.out += HASH_SIZE;
    ++run.stops;
  }
  return run.stops != run.stopsEnd;
}

}  // namespace ledger::hash
