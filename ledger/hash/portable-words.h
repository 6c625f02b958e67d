// SPDX-License-Identifier: Apache-2.0
#pragma once
// Eight lanes without any vector instruction: what the lane kernel for AVX-512 does, on a CPU that
// lacks it. For tests.

#include "ledger/hash/lane-kernel.h"

namespace ledger::hash {

struct PortableWords {
  static constexpr unsigned COUNT = 8;
  static constexpr bool HAS_XOR3 = true;

  struct Mask {
    bool of[COUNT];
  };

  uint64_t v[COUNT];

  // Lane by lane, word(lane).
  template <typename Word>
  static PortableWords each(Word&& word) {
    PortableWords result;
    for (unsigned lane = 0; lane < COUNT; ++lane) result.v[lane] = word(lane);
    return result;
  }

  static PortableWords all(uint64_t k) {
    return each([&](unsigned) { return k; });
  }
  static PortableWords sum(const PortableWords& b, const PortableWords& c) { return b ^ c; }
  PortableWords operator^(const PortableWords& b) const {
    return each([&](unsigned lane) { return v[lane] ^ b.v[lane]; });
  }
  PortableWords chi(const PortableWords& b, const PortableWords& c) const {
    return each([&](unsigned lane) { return v[lane] ^ (~b.v[lane] & c.v[lane]); });
  }
  template <unsigned N>
  PortableWords rotl() const {
    return each([&](unsigned lane) { return v[lane] << N | v[lane] >> (64 - N); });
  }

  static Mask mask(unsigned bits) {
    Mask result;
    for (unsigned lane = 0; lane < COUNT; ++lane) result.of[lane] = bits >> lane & 1;
    return result;
  }
  static PortableWords select(const Mask& mask, const PortableWords& a, const PortableWords& b) {
    return each([&](unsigned lane) { return mask.of[lane] ? a.v[lane] : b.v[lane]; });
  }

  static PortableWords loadWords(const unsigned char* const* rows, size_t offset) {
    return each([&](unsigned lane) {
      uint64_t word;
      memcpy(&word, rows[lane] + offset, sizeof(word));
      return word;
    });
  }
  static void loadRows(PortableWords (&out)[4], const unsigned char* const* rows, size_t offset) {
    for (unsigned i = 0; i < 4; ++i) out[i] = loadWords(rows, offset + i * sizeof(uint64_t));
  }
  static void storeRows(const PortableWords (&in)[4], unsigned char* const* rows) {
    for (unsigned lane = 0; lane < COUNT; ++lane) {
      for (unsigned i = 0; i < 4; ++i) memcpy(rows[lane] + 8 * i, &in[i].v[lane], 8);
    }
  }
};

}  // namespace ledger::hash
