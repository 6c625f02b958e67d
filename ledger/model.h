// SPDX-License-Identifier: Apache-2.0
#pragma once
// The words of the ledger: hashes, paths, keys, values, payloads.
//
// A register is addressed by a key, stored under the key's path, and holds a value. Inside the
// ledger a key is always in its encoded form (flow-go's prefix-less key encoding, see
// docs/formats.md): that is what a client sends, what a leaf stores and what a proof carries, so
// nothing is ever decoded only to be encoded again.

#include <kj/array.h>
#include <kj/common.h>

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>

namespace ledger {

// Thirty-two bytes with a meaning. The tag keeps hashes and paths apart.
template <typename Tag>
struct Bytes32 {
  static constexpr size_t SIZE = 32;

  alignas(8) std::array<kj::byte, SIZE> bytes{};

  // `from` must be SIZE bytes long.
  static Bytes32 copyOf(kj::ArrayPtr<const kj::byte> from) {
    KJ_IREQUIRE(from.size() == SIZE);
    Bytes32 result;
    memcpy(result.bytes.data(), from.begin(), SIZE);
    return result;
  }

  kj::ArrayPtr<const kj::byte> ptr() const { return {bytes.data(), SIZE}; }

  // Bit `index` counted from the most significant bit of the first byte: flow-go's numbering.
  bool bit(unsigned index) const { return (bytes[index / 8] >> (7 - index % 8)) & 1; }

  // Word by word: comparisons are in every inner loop, and a call of memcmp is longer than this.
  bool operator==(const Bytes32& other) const {
    return ((word(0) ^ other.word(0)) | (word(1) ^ other.word(1)) | (word(2) ^ other.word(2)) |
            (word(3) ^ other.word(3))) == 0;
  }
  std::strong_ordering operator<=>(const Bytes32& other) const {
    for (size_t i = 0; i < SIZE / 8; ++i) {
      if (word(i) == other.word(i)) continue;
      return __builtin_bswap64(word(i)) <=> __builtin_bswap64(other.word(i));
    }
    return std::strong_ordering::equal;
  }

private:
  uint64_t word(size_t index) const {
    static_assert(std::endian::native == std::endian::little);
    uint64_t result;
    memcpy(&result, bytes.data() + 8 * index, sizeof(result));
    return result;
  }
};

using Hash = Bytes32<struct HashTag>;
using Path = Bytes32<struct PathTag>;

// The root hash of a trie: names a state.
using RootHash = Hash;

// Levels of a trie: a root stands at height 256, a leaf of the full tree at height 0. Depth counts
// from the root: depth = TRIE_HEIGHT - height.
constexpr unsigned TRIE_HEIGHT = 256;

// A key without prefix: count, then (length, type, value) per part. See encoding.h.
using EncodedKey = kj::ArrayPtr<const kj::byte>;

// A register's content. Empty means unallocated.
using Value = kj::ArrayPtr<const kj::byte>;

// The most bytes that one value, or one encoded key, may have. Checked by whoever takes them in.
constexpr uint64_t MAX_VALUE_SIZE = uint64_t(1) << 30;
constexpr uint64_t MAX_KEY_SIZE = (uint64_t(1) << 30) - 1;

struct Payload {
  EncodedKey key;
  Value value;

  // What flow-go counts in a trie's size.
  uint64_t size() const { return key.size() + value.size(); }
};

}  // namespace ledger
