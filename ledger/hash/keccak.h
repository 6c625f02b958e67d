// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keccak-f[1600] and SHA3-256's sponge, one state at a time, for any CPU. Many jobs at once, and a
// CPU's own instructions: sha3.h.
//
// A state's words (FIPS 202: lanes) are little-endian, so a message block is copied straight onto
// the first of them.
//
// Source: FIPS 202.

#include "ledger/hash/keccak-round.h"
#include "ledger/hash/one-word.h"
#include "ledger/model.h"

#include <kj/common.h>

#include <bit>
#include <cstdint>
#include <cstring>

namespace ledger::hash {

static_assert(std::endian::native == std::endian::little, "words are read and written in place");

struct KeccakState {
  uint64_t words[keccak::WORDS] = {};
};

inline void permute(KeccakState& state) {
  keccak::OneWord<struct AnyCpu> a[keccak::WORDS];
  memcpy(a, state.words, sizeof(a));
  keccak::permute(a);
  memcpy(state.words, a, sizeof(a));
}

// SHA3-256 of the 64 bytes of two hashes: exactly one permutation. `out` may be an input.
inline void hashPair(const Hash& left, const Hash& right, Hash& out) {
  KeccakState state;
  memcpy(state.words + 0, left.bytes.data(), 32);
  memcpy(state.words + 4, right.bytes.data(), 32);
  state.words[8] = keccak::DOMAIN;
  state.words[keccak::RATE_WORDS - 1] = keccak::FINAL;
  permute(state);
  memcpy(out.bytes.data(), state.words, 32);
}

// SHA3-256 of bytes that come in pieces.
class Sponge {
public:
  void absorb(kj::ArrayPtr<const kj::byte> bytes) {
    auto* words = reinterpret_cast<kj::byte*>(state.words);
    while (bytes.size() > 0) {
      const size_t count = kj::min(bytes.size(), keccak::RATE - filled);
      xorInto(words + filled, bytes.begin(), count);
      filled += count;
      bytes = bytes.slice(count, bytes.size());
      if (filled == keccak::RATE) {
        permute(state);
        filled = 0;
      }
    }
  }

  // Once; the sponge is used up.
  Hash squeeze() {
    state.words[filled / 8] ^= keccak::DOMAIN << (filled % 8 * 8);
    state.words[keccak::RATE / 8 - 1] ^= keccak::FINAL;
    permute(state);
    Hash result;
    memcpy(result.bytes.data(), state.words, Hash::SIZE);
    return result;
  }

private:
  static void xorInto(kj::byte* target, const kj::byte* from, size_t count) {
    for (; count >= 8; count -= 8, target += 8, from += 8) {
      uint64_t a, b;
      memcpy(&a, target, 8);
      memcpy(&b, from, 8);
      a ^= b;
      memcpy(target, &a, 8);
    }
    for (size_t i = 0; i < count; ++i) target[i] ^= from[i];
  }

  KeccakState state;
  size_t filled = 0;  // Bytes of the current block, less than keccak::RATE.
};

}  // namespace ledger::hash
