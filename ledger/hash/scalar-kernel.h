// SPDX-License-Identifier: Apache-2.0
#pragma once
// A scalar kernel for one instruction set: one job at a time, in general-purpose registers.
// Included by one source per set, which instantiates it with a type of its own (lane-kernel.h).

#include "ledger/hash/block.h"
#include "ledger/hash/keccak-round.h"
#include "ledger/hash/kernel.h"
#include "ledger/hash/one-word.h"

namespace ledger::hash {

template <typename Isa>
class Scalar {
public:
  static constexpr ScalarKernel kernel() {
    return {&permute, &hashPair, &finishChain, &finishMessage};
  }

private:
  using W = keccak::OneWord<Isa>;

  static void permute(uint64_t* state) {
    W a[keccak::WORDS];
    memcpy(a, state, sizeof(a));
    keccak::permute(a);
    memcpy(state, a, sizeof(a));
  }

  static void hashPair(const unsigned char* left, const unsigned char* right, unsigned char* out) {
    W l[4], r[4];
    memcpy(l, left, HASH_SIZE);
    memcpy(r, right, HASH_SIZE);
    keccak::hashPair(l, r, l);
    memcpy(out, l, HASH_SIZE);
  }

  static void finishChain(ChainRun& run, const unsigned char* defaults) {
    unsigned char hash[HASH_SIZE];
    memcpy(hash, run.hash, HASH_SIZE);
    do {
      for (; run.height < *run.stops; ++run.height) {
        const unsigned char* sibling = defaults + run.height * HASH_SIZE;
        if (isRight(run, run.height)) {
          hashPair(sibling, hash, hash);
        } else {
          hashPair(hash, sibling, hash);
        }
      }
    } while (settle(run, hash));
  }

  static void finishMessage(MessageRun& run, const uint64_t* state) {
    W a[keccak::WORDS];
    memcpy(a, state, sizeof(a));
    unsigned char scratch[keccak::RATE];
    Block block;
    do {
      block = takeBlock(run, scratch);
      for (unsigned i = 0; i < keccak::RATE_WORDS; ++i) {
        W word;
        memcpy(&word, block.bytes + i * sizeof(word), sizeof(word));
        a[i] = a[i] ^ word;
      }
      keccak::permute(a);
    } while (!block.last);
    memcpy(run.out, a, HASH_SIZE);
  }
};

}  // namespace ledger::hash
