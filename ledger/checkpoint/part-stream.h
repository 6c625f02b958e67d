// SPDX-License-Identifier: Apache-2.0
#pragma once
// One file of a checkpoint, read from front to back and summed up on the way.

#include <kj/array.h>
#include <kj/filesystem.h>
#include <kj/function.h>
#include <kj/string.h>

#include <bit>
#include <cstdint>
#include <cstring>

namespace ledger {

// A big-endian number. `bytes` must have its size.
template <typename T>
T readBigEndian(kj::ArrayPtr<const kj::byte> bytes) {
  static_assert(std::endian::native == std::endian::little);
  KJ_IREQUIRE(bytes.size() == sizeof(T));
  T value;
  memcpy(&value, bytes.begin(), sizeof(T));
  if constexpr (sizeof(T) == 2) {
    return __builtin_bswap16(value);
  } else if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(value);
  } else {
    static_assert(sizeof(T) == 8);
    return __builtin_bswap64(value);
  }
}
inline uint16_t readU16(kj::ArrayPtr<const kj::byte> bytes) {
  return readBigEndian<uint16_t>(bytes);
}
inline uint32_t readU32(kj::ArrayPtr<const kj::byte> bytes) {
  return readBigEndian<uint32_t>(bytes);
}
inline uint64_t readU64(kj::ArrayPtr<const kj::byte> bytes) {
  return readBigEndian<uint64_t>(bytes);
}

// Thread: one at a time.
class PartStream final {
public:
  // `size` is the file's, at least CHECKPOINT_CRC_SIZE. `onRead` is told how many bytes each read
  // has brought.
  PartStream(const kj::ReadableFile& file, kj::StringPtr name, uint64_t size,
             kj::Function<void(uint64_t)> onRead);
  KJ_DISALLOW_COPY(PartStream);

  // The next bytes, valid until the next call. Throws if fewer are left before the checksum: `what`
  // they were to be is for the message.
  kj::ArrayPtr<const kj::byte> take(uint64_t length, kj::StringPtr what) {
    if (length > end - begin) return takeAcross(length, what);
    auto bytes = buffer.slice(begin, begin + length).asConst();
    begin += length;
    taken += length;
    return bytes;
  }

  uint16_t takeU16(kj::StringPtr what) { return readU16(take(2, what)); }
  uint32_t takeU32(kj::StringPtr what) { return readU32(take(4, what)); }
  uint64_t takeU64(kj::StringPtr what) { return readU64(take(8, what)); }

  // Throws unless nothing but the checksum is left, and it is that of the bytes taken, and
  // `expected`.
  void finish(uint32_t expected);

  kj::StringPtr name() const { return fileName; }
  uint64_t offset() const { return taken; }
  uint64_t left() const { return bodyEnd - taken; }  // Without the checksum.

private:
  // take(), where the buffer does not hold as much.
  kj::ArrayPtr<const kj::byte> takeAcross(uint64_t length, kj::StringPtr what);
  void fill();

  const kj::ReadableFile& file;
  const kj::String fileName;
  const uint64_t bodyEnd;  // Offset of the checksum.
  kj::Function<void(uint64_t)> onRead;

  uint64_t taken = 0;    // Bytes handed out.
  uint64_t fetched = 0;  // Bytes read from the file, all of them in `crc`.
  kj::Array<kj::byte> buffer;
  size_t begin = 0;  // Of the bytes in `buffer` that were not handed out.
  size_t end = 0;
  kj::Array<kj::byte> large;  // What does not fit into `buffer`.
  uint32_t crc = 0;
};

// `length` bytes at `offset`; throws if the file has fewer.
kj::Array<kj::byte> readExactly(const kj::ReadableFile& file, kj::StringPtr name, uint64_t offset,
                                size_t length);

}  // namespace ledger
