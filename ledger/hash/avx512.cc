// SPDX-License-Identifier: Apache-2.0
// Eight lanes, in the 512-bit registers of AVX-512F: they hold a whole state, rotate in one
// instruction and combine three words in one.
#include "ledger/hash/lane-kernel.h"

#include <immintrin.h>

namespace ledger::hash {
namespace {

// Tables of vpternlogq: the result for the bits (a, b, c) is bit 4a + 2b + c.
constexpr int XOR3 = 0b10010110;  // a ^ b ^ c
constexpr int CHI = 0b11010010;   // a ^ (~b & c)

struct EightWords {
  static constexpr unsigned COUNT = 8;
  static constexpr bool HAS_XOR3 = true;

  struct Sum {
    __m512i b, c;
  };

  __m512i v;

  static EightWords all(uint64_t k) { return {_mm512_set1_epi64(k)}; }
  static Sum sum(EightWords b, EightWords c) { return {b.v, c.v}; }
  EightWords operator^(EightWords b) const { return {_mm512_xor_si512(v, b.v)}; }
  EightWords operator^(Sum s) const { return {_mm512_ternarylogic_epi64(v, s.b, s.c, XOR3)}; }

  EightWords chi(EightWords b, EightWords c) const {
    return {_mm512_ternarylogic_epi64(v, b.v, c.v, CHI)};
  }

  template <unsigned N>
  EightWords rotl() const {
    return {_mm512_rol_epi64(v, N)};
  }

  static __mmask8 mask(unsigned bits) { return bits; }

  static EightWords select(__mmask8 mask, EightWords a, EightWords b) {
    return {_mm512_mask_blend_epi64(mask, b.v, a.v)};
  }

  // Rows two lanes apart in the halves of one register: then a pair of 64-bit unpacks and a choice
  // of 128-bit quarters puts the lanes in order.
  static __m512i loadTwo(const unsigned char* low, const unsigned char* high) {
    const __m256i lowHalf = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(low));
    const __m256i highHalf = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(high));
    return _mm512_inserti64x4(_mm512_castsi256_si512(lowHalf), highHalf, 1);
  }

  static void storeTwo(__m512i rows, unsigned char* low, unsigned char* high) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(low), _mm512_castsi512_si256(rows));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(high), _mm512_extracti64x4_epi64(rows, 1));
  }

  static void loadRows(EightWords (&out)[4], const unsigned char* const* rows, size_t offset) {
    const __m512i rows02 = loadTwo(rows[0] + offset, rows[2] + offset);
    const __m512i rows13 = loadTwo(rows[1] + offset, rows[3] + offset);
    const __m512i rows46 = loadTwo(rows[4] + offset, rows[6] + offset);
    const __m512i rows57 = loadTwo(rows[5] + offset, rows[7] + offset);
    // Quarters: word 0 of lanes 0 1, word 2 of lanes 0 1, word 0 of lanes 2 3, word 2 of lanes 2 3.
    const __m512i even0123 = _mm512_unpacklo_epi64(rows02, rows13);
    const __m512i odd0123 = _mm512_unpackhi_epi64(rows02, rows13);
    const __m512i even4567 = _mm512_unpacklo_epi64(rows46, rows57);
    const __m512i odd4567 = _mm512_unpackhi_epi64(rows46, rows57);
    constexpr int EVEN_QUARTERS = 0b10001000;  // 0 and 2 of each.
    constexpr int ODD_QUARTERS = 0b11011101;   // 1 and 3 of each.
    out[0].v = _mm512_shuffle_i64x2(even0123, even4567, EVEN_QUARTERS);
    out[1].v = _mm512_shuffle_i64x2(odd0123, odd4567, EVEN_QUARTERS);
    out[2].v = _mm512_shuffle_i64x2(even0123, even4567, ODD_QUARTERS);
    out[3].v = _mm512_shuffle_i64x2(odd0123, odd4567, ODD_QUARTERS);
  }

  static EightWords loadWords(const unsigned char* const* rows, size_t offset) {
    long long words[COUNT];
    for (unsigned i = 0; i < COUNT; ++i) memcpy(&words[i], rows[i] + offset, sizeof(words[i]));
    return {_mm512_set_epi64(words[7], words[6], words[5], words[4], words[3], words[2], words[1],
                             words[0])};
  }

  static void storeRows(const EightWords (&in)[4], unsigned char* const* rows) {
    // Quarters: the two words of lanes 0, 2, 4, 6, or of lanes 1, 3, 5, 7.
    const __m512i even01 = _mm512_unpacklo_epi64(in[0].v, in[1].v);
    const __m512i odd01 = _mm512_unpackhi_epi64(in[0].v, in[1].v);
    const __m512i even23 = _mm512_unpacklo_epi64(in[2].v, in[3].v);
    const __m512i odd23 = _mm512_unpackhi_epi64(in[2].v, in[3].v);
    // Lane by lane its words 0 1 and its words 2 3; an index of 8 or more is into the second.
    const __m512i lower = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    const __m512i upper = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    storeTwo(_mm512_permutex2var_epi64(even01, lower, even23), rows[0], rows[2]);
    storeTwo(_mm512_permutex2var_epi64(odd01, lower, odd23), rows[1], rows[3]);
    storeTwo(_mm512_permutex2var_epi64(even01, upper, even23), rows[4], rows[6]);
    storeTwo(_mm512_permutex2var_epi64(odd01, upper, odd23), rows[5], rows[7]);
  }
};

}  // namespace

constinit const LaneKernel AVX512_KERNEL = Lanes<EightWords>::kernel();

}  // namespace ledger::hash
