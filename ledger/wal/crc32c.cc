// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace ledger {
namespace {

constexpr uint32_t POLYNOMIAL = 0x82F63B78;

// SLICES[0][b] advances a register by the byte b; SLICES[k][b] by b and then k zero bytes.
using Slices = std::array<std::array<uint32_t, 256>, 8>;

constexpr Slices makeSlices() {
  Slices slices{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
    slices[0][b] = crc;
  }
  for (size_t k = 1; k < slices.size(); ++k) {
    for (uint32_t b = 0; b < 256; ++b) {
      uint32_t before = slices[k - 1][b];
      slices[k][b] = (before >> 8) ^ slices[0][before & 0xff];
    }
  }
  return slices;
}

constexpr Slices SLICES = makeSlices();

constexpr uint32_t step(uint32_t state, kj::byte b) {
  return (state >> 8) ^ SLICES[0][(state ^ b) & 0xff];
}

}  // namespace

uint32_t extendCrc32cByTable(uint32_t crc, kj::ArrayPtr<const kj::byte> bytes) {
  uint32_t state = ~crc;
  const kj::byte* at = bytes.begin();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    state ^= at[0] | uint32_t(at[1]) << 8 | uint32_t(at[2]) << 16 | uint32_t(at[3]) << 24;
    state = SLICES[7][state & 0xff] ^ SLICES[6][state >> 8 & 0xff] ^ SLICES[5][state >> 16 & 0xff] ^
            SLICES[4][state >> 24] ^ SLICES[3][at[4]] ^ SLICES[2][at[5]] ^ SLICES[1][at[6]] ^
            SLICES[0][at[7]];
  }
  for (; left > 0; ++at, --left) state = step(state, *at);
  return ~state;
}

#if defined(__x86_64__)

namespace {

// Bytes of each of the three streams that run side by side. A multiple of 8; a page's fragment
// holds several rounds of three.
constexpr size_t STREAM = 1024;

// Advances a register by STREAM zero bytes: that is linear in the register, so the effects of its
// four bytes are looked up and added. Joins two streams: crc(a b) = advance(crc(a)) ^ crc(b).
class Advance {
public:
  Advance() {
    std::array<uint32_t, 32> ofBit;
    for (size_t bit = 0; bit < 32; ++bit) {
      uint32_t state = uint32_t(1) << bit;
      for (size_t i = 0; i < STREAM; ++i) state = step(state, 0);
      ofBit[bit] = state;
    }
    for (size_t place = 0; place < 4; ++place) {
      for (uint32_t b = 0; b < 256; ++b) {
        uint32_t sum = 0;
        for (size_t bit = 0; bit < 8; ++bit) {
          if (b >> bit & 1) sum ^= ofBit[place * 8 + bit];
        }
        ofByte[place][b] = sum;
      }
    }
  }

  uint32_t operator()(uint32_t state) const {
    return ofByte[0][state & 0xff] ^ ofByte[1][state >> 8 & 0xff] ^ ofByte[2][state >> 16 & 0xff] ^
           ofByte[3][state >> 24];
  }

private:
  std::array<std::array<uint32_t, 256>, 4> ofByte;
};

uint64_t load(const kj::byte* from) {
  uint64_t word;
  memcpy(&word, from, sizeof(word));
  return word;
}

__attribute__((target("sse4.2"))) uint32_t runInstruction(uint32_t crc, const kj::byte* at,
                                                          size_t left) {
  static const Advance advance;

  uint64_t a = static_cast<uint32_t>(~crc);
  for (; left >= 3 * STREAM; at += 3 * STREAM, left -= 3 * STREAM) {
    uint64_t b = 0;
    uint64_t c = 0;
    for (size_t i = 0; i < STREAM; i += 8) {
      a = _mm_crc32_u64(a, load(at + i));
      b = _mm_crc32_u64(b, load(at + STREAM + i));
      c = _mm_crc32_u64(c, load(at + 2 * STREAM + i));
    }
    a = advance(advance(static_cast<uint32_t>(a)) ^ static_cast<uint32_t>(b)) ^ c;
  }
  for (; left >= 8; at += 8, left -= 8) a = _mm_crc32_u64(a, load(at));
  uint32_t state = static_cast<uint32_t>(a);
  for (; left > 0; ++at, --left) state = _mm_crc32_u8(state, *at);
  return ~state;
}

}  // namespace

bool haveCrc32cInstruction() {
  static const bool have = __builtin_cpu_supports("sse4.2");
  return have;
}

uint32_t extendCrc32cByInstruction(uint32_t crc, kj::ArrayPtr<const kj::byte> bytes) {
  KJ_IREQUIRE(haveCrc32cInstruction());
  return runInstruction(crc, bytes.begin(), bytes.size());
}

#else

bool haveCrc32cInstruction() {
  return false;
}

uint32_t extendCrc32cByInstruction(uint32_t, kj::ArrayPtr<const kj::byte>) {
  KJ_FAIL_REQUIRE("this processor has no CRC-32C instruction");
}

#endif

uint32_t extendCrc32c(uint32_t crc, kj::ArrayPtr<const kj::byte> bytes) {
  return haveCrc32cInstruction() ? extendCrc32cByInstruction(crc, bytes)
                                 : extendCrc32cByTable(crc, bytes);
}

}  // namespace ledger
