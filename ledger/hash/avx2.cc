// SPDX-License-Identifier: Apache-2.0
// Four lanes, in the 256-bit registers of AVX2.
#include "ledger/hash/lane-kernel.h"

#include <immintrin.h>

namespace ledger::hash {
namespace {

struct FourWords {
  static constexpr unsigned COUNT = 4;
  static constexpr bool HAS_XOR3 = false;

  __m256i v;

  static FourWords all(uint64_t k) { return {_mm256_set1_epi64x(k)}; }
  static FourWords sum(FourWords b, FourWords c) { return b ^ c; }
  FourWords operator^(FourWords b) const { return {_mm256_xor_si256(v, b.v)}; }

  FourWords chi(FourWords b, FourWords c) const {
    return {_mm256_xor_si256(v, _mm256_andnot_si256(b.v, c.v))};
  }

  template <unsigned N>
  FourWords rotl() const {
    if constexpr (N % 8 == 0) {  // Of whole bytes: one instruction in place of three.
      constexpr uint64_t BYTES = 0x0706050403020100;
      constexpr uint64_t LOW = BYTES << N | BYTES >> (64 - N);
      constexpr uint64_t HIGH = LOW + 0x0808080808080808;
      return {_mm256_shuffle_epi8(v, _mm256_set_epi64x(HIGH, LOW, HIGH, LOW))};
    } else {
      return {_mm256_or_si256(_mm256_slli_epi64(v, N), _mm256_srli_epi64(v, 64 - N))};
    }
  }

  static __m256i mask(unsigned bits) {
    const __m256i ofLane = _mm256_set_epi64x(8, 4, 2, 1);
    return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(bits), ofLane), ofLane);
  }

  static FourWords select(__m256i mask, FourWords a, FourWords b) {
    return {_mm256_blendv_epi8(b.v, a.v, mask)};
  }

  // Words of a row in, words of a lane out, or the reverse.
  static void transpose(const __m256i (&in)[4], __m256i (&out)[4]) {
    const __m256i even01 = _mm256_unpacklo_epi64(in[0], in[1]);
    const __m256i odd01 = _mm256_unpackhi_epi64(in[0], in[1]);
    const __m256i even23 = _mm256_unpacklo_epi64(in[2], in[3]);
    const __m256i odd23 = _mm256_unpackhi_epi64(in[2], in[3]);
    out[0] = _mm256_permute2x128_si256(even01, even23, 0x20);
    out[1] = _mm256_permute2x128_si256(odd01, odd23, 0x20);
    out[2] = _mm256_permute2x128_si256(even01, even23, 0x31);
    out[3] = _mm256_permute2x128_si256(odd01, odd23, 0x31);
  }

  static void loadRows(FourWords (&out)[4], const unsigned char* const* rows, size_t offset) {
    __m256i in[4], turned[4];
    for (unsigned i = 0; i < 4; ++i) {
      in[i] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i] + offset));
    }
    transpose(in, turned);
    for (unsigned i = 0; i < 4; ++i) out[i].v = turned[i];
  }

  static FourWords loadWords(const unsigned char* const* rows, size_t offset) {
    long long words[COUNT];
    for (unsigned i = 0; i < COUNT; ++i) memcpy(&words[i], rows[i] + offset, sizeof(words[i]));
    return {_mm256_set_epi64x(words[3], words[2], words[1], words[0])};
  }

  static void storeRows(const FourWords (&in)[4], unsigned char* const* rows) {
    const __m256i words[4] = {in[0].v, in[1].v, in[2].v, in[3].v};
    __m256i turned[4];
    transpose(words, turned);
    for (unsigned i = 0; i < 4; ++i) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows[i]), turned[i]);
    }
  }
};

}  // namespace

constinit const LaneKernel AVX2_KERNEL = Lanes<FourWords>::kernel();

}  // namespace ledger::hash
