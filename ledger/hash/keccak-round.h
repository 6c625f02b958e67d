// SPDX-License-Identifier: Apache-2.0
#pragma once
// The rounds of Keccak-f[1600], for one state or for many side by side.
//
// W holds one word (FIPS 202: lane) of as many states as it has lanes; word (x, y) of the states is
// a[x + 5 * y]. It has W::all(k), a ^ b, a.rotl<n>(), a.chi(b, c) = a ^ (~b & c), and xor3: with
// s = W::sum(b, c), a ^ s is a ^ b ^ c, by one instruction where the CPU has one (HAS_XOR3).
//
// Compiled for several instruction sets: every function is a template that is inlined, and includes
// nothing that could be shared with code for another set (lane-kernel.h says why).
//
// Source: FIPS 202.

#include <cstddef>
#include <cstdint>

namespace ledger::hash::keccak {

constexpr unsigned WORDS = 25;
constexpr unsigned ROUNDS = 24;

constexpr size_t RATE = 136;                      // Bytes of a block of SHA3-256.
constexpr uint64_t DOMAIN = 0x06;                 // First padding byte.
constexpr uint64_t FINAL = uint64_t(0x80) << 56;  // Last padding byte, in the last word.
constexpr unsigned RATE_WORDS = RATE / sizeof(uint64_t);

constexpr uint64_t ROUND_CONSTANTS[ROUNDS] = {
    0x0000000000000001, 0x0000000000008082, 0x800000000000808a, 0x8000000080008000,
    0x000000000000808b, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008a, 0x0000000000000088, 0x0000000080008009, 0x000000008000000a,
    0x000000008000808b, 0x800000000000008b, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800a, 0x800000008000000a,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
};

// Where sums of three cost as much as sums of two, columns are better summed all at once.
template <typename W>
[[gnu::always_inline]] inline void addTo(W& parity, W e) {
  if constexpr (!W::HAS_XOR3) parity = parity ^ e;
}

// Chi on one row, which is added to the sums of the columns while it is in registers.
template <typename W>
[[gnu::always_inline]] inline void chi(W* e, W (&parity)[5], W b0, W b1, W b2, W b3, W b4) {
  e[0] = b0.chi(b1, b2);
  addTo(parity[0], e[0]);
  e[1] = b1.chi(b2, b3);
  addTo(parity[1], e[1]);
  e[2] = b2.chi(b3, b4);
  addTo(parity[2], e[2]);
  e[3] = b3.chi(b4, b0);
  addTo(parity[3], e[3]);
  e[4] = b4.chi(b0, b1);
  addTo(parity[4], e[4]);
}

// parity[x] = the sum of column x.
template <typename W>
[[gnu::always_inline]] inline void sumColumns(const W (&a)[WORDS], W (&parity)[5]) {
  for (unsigned x = 0; x < 5; ++x) {
    parity[x] = a[x] ^ W::sum(a[x + 5], a[x + 10]) ^ W::sum(a[x + 15], a[x + 20]);
  }
}

// One round, from `a` to `e`; `parity` is of `a` and becomes that of `e`. Row y of `e` takes word
// (x + 3y, x) of `a` at its column x: that is pi; the rotations are rho. All indices are constants,
// so that both states can be registers.
template <typename W>
[[gnu::always_inline]] inline void round(const W (&a)[WORDS], W (&e)[WORDS], W (&parity)[5],
                                         uint64_t constant) {
  const auto d0 = W::sum(parity[4], parity[1].template rotl<1>());
  const auto d1 = W::sum(parity[0], parity[2].template rotl<1>());
  const auto d2 = W::sum(parity[1], parity[3].template rotl<1>());
  const auto d3 = W::sum(parity[2], parity[4].template rotl<1>());
  const auto d4 = W::sum(parity[3], parity[0].template rotl<1>());

  for (unsigned x = 0; x < 5; ++x) parity[x] = W::all(0);
  chi(e, parity, a[0] ^ d0, (a[6] ^ d1).template rotl<44>(), (a[12] ^ d2).template rotl<43>(),
      (a[18] ^ d3).template rotl<21>(), (a[24] ^ d4).template rotl<14>());
  e[0] = e[0] ^ W::all(constant);
  parity[0] = e[0];
  chi(e + 5, parity, (a[3] ^ d3).template rotl<28>(), (a[9] ^ d4).template rotl<20>(),
      (a[10] ^ d0).template rotl<3>(), (a[16] ^ d1).template rotl<45>(),
      (a[22] ^ d2).template rotl<61>());
  chi(e + 10, parity, (a[1] ^ d1).template rotl<1>(), (a[7] ^ d2).template rotl<6>(),
      (a[13] ^ d3).template rotl<25>(), (a[19] ^ d4).template rotl<8>(),
      (a[20] ^ d0).template rotl<18>());
  chi(e + 15, parity, (a[4] ^ d4).template rotl<27>(), (a[5] ^ d0).template rotl<36>(),
      (a[11] ^ d1).template rotl<10>(), (a[17] ^ d2).template rotl<15>(),
      (a[23] ^ d3).template rotl<56>());
  chi(e + 20, parity, (a[2] ^ d2).template rotl<62>(), (a[8] ^ d3).template rotl<55>(),
      (a[14] ^ d4).template rotl<39>(), (a[15] ^ d0).template rotl<41>(),
      (a[21] ^ d1).template rotl<2>());
  if constexpr (W::HAS_XOR3) sumColumns(e, parity);
}

template <typename W>
[[gnu::always_inline]] inline void permute(W (&a)[WORDS]) {
  W e[WORDS];
  W parity[5];
  sumColumns(a, parity);
  for (unsigned i = 0; i < ROUNDS; i += 2) {
    round(a, e, parity, ROUND_CONSTANTS[i]);
    round(e, a, parity, ROUND_CONSTANTS[i + 1]);
  }
}

// SHA3-256 of the 64 bytes of two hashes: exactly one permutation. `out` may be an input.
//
// The first and the last round stand apart, so that the compiler drops what is zero in the first
// and what is not part of the hash in the last.
template <typename W>
[[gnu::always_inline]] inline void hashPair(const W (&left)[4], const W (&right)[4], W (&out)[4]) {
  W a[WORDS];
  W e[WORDS];
  W parity[5];
  for (unsigned i = 0; i < 4; ++i) {
    a[i] = left[i];
    a[i + 4] = right[i];
  }
  for (unsigned i = 8; i < WORDS; ++i) a[i] = W::all(0);
  a[8] = W::all(DOMAIN);
  a[RATE_WORDS - 1] = W::all(FINAL);

  sumColumns(a, parity);
  round(a, e, parity, ROUND_CONSTANTS[0]);
  for (unsigned i = 1; i < ROUNDS - 1; i += 2) {
    round(e, a, parity, ROUND_CONSTANTS[i]);
    round(a, e, parity, ROUND_CONSTANTS[i + 1]);
  }
  round(e, a, parity, ROUND_CONSTANTS[ROUNDS - 1]);
  for (unsigned i = 0; i < 4; ++i) out[i] = a[i];
}

}  // namespace ledger::hash::keccak
