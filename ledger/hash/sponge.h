// SPDX-License-Identifier: Apache-2.0
#pragma once
// SHA3-256 of one message that comes in pieces. Messages that lie in memory: sha3.h.
//
// A state's words (FIPS 202: lanes) are little-endian, so a message block is copied straight onto
// the first of them.
//
// Source: FIPS 202.

#include "ledger/hash/keccak-round.h"
#include "ledger/hash/kernels.h"
#include "ledger/model.h"

#include <kj/common.h>

#include <bit>
#include <cstdint>
#include <cstring>

namespace ledger::hash {

static_assert(std::endian::native == std::endian::little, "words are read and written in place");

class Sponge {
public:
  void absorb(kj::ArrayPtr<const kj::byte> bytes) {
    auto* target = reinterpret_cast<kj::byte*>(words);
    while (bytes.size() > 0) {
      const size_t count = kj::min(bytes.size(), keccak::RATE - filled);
      xorInto(target + filled, bytes.begin(), count);
      filled += count;
      bytes = bytes.slice(count, bytes.size());
      if (filled == keccak::RATE) {
        kernels().scalar->permute(words);
        filled = 0;
      }
    }
  }

  // Once; the sponge is used up.
  Hash squeeze() {
    words[filled / 8] ^= keccak::DOMAIN << (filled % 8 * 8);
    words[keccak::RATE / 8 - 1] ^= keccak::FINAL;
    kernels().scalar->permute(words);
    Hash result;
    memcpy(result.bytes.data(), words, Hash::SIZE);
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

  uint64_t words[keccak::WORDS] = {};
  size_t filled = 0;  // Bytes of the current block, less than keccak::RATE.
};

}  // namespace ledger::hash
