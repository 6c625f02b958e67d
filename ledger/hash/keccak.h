// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keccak-f[1600] and SHA3-256's sponge, one state at a time, in general-purpose registers.
//
// Lane (x, y) of FIPS 202 is lanes[x + 5 * y]; its bytes are little-endian, so a message block is
// copied straight onto the first lanes.
//
// Source: FIPS 202.

#include "ledger/model.h"

#include <kj/common.h>

#include <bit>
#include <cstdint>
#include <cstring>

namespace ledger::hash {

static_assert(std::endian::native == std::endian::little, "lanes are read and written in place");

constexpr size_t SHA3_RATE = 136;       // Bytes of a block, for 256 bits of output.
constexpr uint64_t SHA3_DOMAIN = 0x06;  // First padding byte.
constexpr uint64_t SHA3_FINAL = uint64_t(0x80)
                                << 56;  // Last padding byte, in the block's last lane.

struct KeccakState {
  uint64_t lanes[25] = {};
};

namespace keccak {

constexpr uint64_t ROUND_CONSTANTS[24] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

// Chi on one row.
[[gnu::always_inline]] inline void chi(uint64_t* out, uint64_t b0, uint64_t b1, uint64_t b2,
                                       uint64_t b3, uint64_t b4) {
  out[0] = b0 ^ (~b1 & b2);
  out[1] = b1 ^ (~b2 & b3);
  out[2] = b2 ^ (~b3 & b4);
  out[3] = b3 ^ (~b4 & b0);
  out[4] = b4 ^ (~b0 & b1);
}

// One round, from `a` to `e`. Row y of `e` takes lane (x + 3y, x) of `a` at its column x: that is
// pi; the rotations are rho. All indices are constants, so that both states can be registers.
[[gnu::always_inline]] inline void round(const uint64_t (&a)[25], uint64_t (&e)[25],
                                         uint64_t constant) {
  using std::rotl;
  const uint64_t c0 = a[0] ^ a[5] ^ a[10] ^ a[15] ^ a[20];
  const uint64_t c1 = a[1] ^ a[6] ^ a[11] ^ a[16] ^ a[21];
  const uint64_t c2 = a[2] ^ a[7] ^ a[12] ^ a[17] ^ a[22];
  const uint64_t c3 = a[3] ^ a[8] ^ a[13] ^ a[18] ^ a[23];
  const uint64_t c4 = a[4] ^ a[9] ^ a[14] ^ a[19] ^ a[24];
  const uint64_t d0 = c4 ^ rotl(c1, 1);
  const uint64_t d1 = c0 ^ rotl(c2, 1);
  const uint64_t d2 = c1 ^ rotl(c3, 1);
  const uint64_t d3 = c2 ^ rotl(c4, 1);
  const uint64_t d4 = c3 ^ rotl(c0, 1);

  chi(e + 0, a[0] ^ d0, rotl(a[6] ^ d1, 44), rotl(a[12] ^ d2, 43), rotl(a[18] ^ d3, 21),
      rotl(a[24] ^ d4, 14));
  chi(e + 5, rotl(a[3] ^ d3, 28), rotl(a[9] ^ d4, 20), rotl(a[10] ^ d0, 3), rotl(a[16] ^ d1, 45),
      rotl(a[22] ^ d2, 61));
  chi(e + 10, rotl(a[1] ^ d1, 1), rotl(a[7] ^ d2, 6), rotl(a[13] ^ d3, 25), rotl(a[19] ^ d4, 8),
      rotl(a[20] ^ d0, 18));
  chi(e + 15, rotl(a[4] ^ d4, 27), rotl(a[5] ^ d0, 36), rotl(a[11] ^ d1, 10), rotl(a[17] ^ d2, 15),
      rotl(a[23] ^ d3, 56));
  chi(e + 20, rotl(a[2] ^ d2, 62), rotl(a[8] ^ d3, 55), rotl(a[14] ^ d4, 39), rotl(a[15] ^ d0, 41),
      rotl(a[21] ^ d1, 2));
  e[0] ^= constant;
}

}  // namespace keccak

inline void permute(KeccakState& state) {
  uint64_t a[25];
  uint64_t e[25];
  memcpy(a, state.lanes, sizeof(a));
  for (unsigned i = 0; i < 24; i += 2) {
    keccak::round(a, e, keccak::ROUND_CONSTANTS[i]);
    keccak::round(e, a, keccak::ROUND_CONSTANTS[i + 1]);
  }
  memcpy(state.lanes, a, sizeof(a));
}

// SHA3-256 of the 64 bytes of two hashes: exactly one permutation. `out` may be an input.
inline void hashPair(const Hash& left, const Hash& right, Hash& out) {
  KeccakState state;
  memcpy(state.lanes + 0, left.bytes.data(), 32);
  memcpy(state.lanes + 4, right.bytes.data(), 32);
  state.lanes[8] = SHA3_DOMAIN;
  state.lanes[16] = SHA3_FINAL;
  permute(state);
  memcpy(out.bytes.data(), state.lanes, 32);
}

// SHA3-256 of bytes that come in pieces.
class Sponge {
public:
  void absorb(kj::ArrayPtr<const kj::byte> bytes) {
    auto* lanes = reinterpret_cast<kj::byte*>(state.lanes);
    while (bytes.size() > 0) {
      const size_t count = kj::min(bytes.size(), SHA3_RATE - filled);
      xorInto(lanes + filled, bytes.begin(), count);
      filled += count;
      bytes = bytes.slice(count, bytes.size());
      if (filled == SHA3_RATE) {
        permute(state);
        filled = 0;
      }
    }
  }

  // Once; the sponge is used up.
  Hash squeeze() {
    state.lanes[filled / 8] ^= SHA3_DOMAIN << (filled % 8 * 8);
    state.lanes[SHA3_RATE / 8 - 1] ^= SHA3_FINAL;
    permute(state);
    Hash result;
    memcpy(result.bytes.data(), state.lanes, Hash::SIZE);
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
  size_t filled = 0;  // Bytes of the current block, less than SHA3_RATE.
};

}  // namespace ledger::hash
