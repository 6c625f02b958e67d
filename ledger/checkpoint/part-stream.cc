// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/part-stream.h"

#include "ledger/checkpoint/format.h"
#include "ledger/read-fault.h"
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

namespace ledger {
namespace {

// Of a second-level cache, so that the bytes are still there when they are summed up and decoded.
constexpr size_t BUFFER_SIZE = 256 << 10;

}  // namespace

kj::Array<kj::byte> readExactly(const kj::ReadableFile& file, kj::StringPtr name, uint64_t offset,
                                size_t length) {
  auto bytes = kj::heapArray<kj::byte>(length);
  size_t got = readOrBlameDisk(name, offset, [&]() { return file.read(offset, bytes); });
  KJ_REQUIRE(got == length, "a checkpoint file is shorter than it should be", name, offset, length,
             got);
  return bytes;
}

PartStream::PartStream(const kj::ReadableFile& file, kj::StringPtr name, uint64_t size,
                       kj::Function<void(uint64_t)> onRead)
    : file(file),
      fileName(kj::str(name)),
      bodyEnd(size - CHECKPOINT_CRC_SIZE),
      onRead(kj::mv(onRead)),
      buffer(kj::heapArray<kj::byte>(kj::min(uint64_t(BUFFER_SIZE), bodyEnd))) {
  KJ_REQUIRE(size >= CHECKPOINT_CRC_SIZE, "a checkpoint file is too short", name, size);
}

// Moves what is left to the front and fills the rest of the buffer.
void PartStream::fill() {
  memmove(buffer.begin(), buffer.begin() + begin, end - begin);
  end -= begin;
  begin = 0;
  large = nullptr;
  size_t wanted = kj::min(uint64_t(buffer.size() - end), bodyEnd - fetched);
  size_t got = readOrBlameDisk(fileName, fetched, [&]() {
    return file.read(fetched, buffer.slice(end, end + wanted));
  });
  KJ_REQUIRE(got == wanted, "a checkpoint file became shorter while it was read", fileName, fetched,
             wanted, got);
  crc = extendCrc32c(crc, buffer.slice(end, end + got).asConst());
  end += got;
  fetched += got;
  onRead(got);
}

kj::ArrayPtr<const kj::byte> PartStream::takeAcross(uint64_t length, kj::StringPtr what) {
  KJ_REQUIRE(length <= left(), "a checkpoint file ends too early", fileName, what, taken, length,
             left());
  if (length <= buffer.size()) {
    fill();
    return take(length, what);
  }
  large = kj::heapArray<kj::byte>(length);
  size_t held = end - begin;
  memcpy(large.begin(), buffer.begin() + begin, held);
  begin = end = 0;
  auto rest = large.slice(held, length);
  size_t got = readOrBlameDisk(fileName, fetched, [&]() { return file.read(fetched, rest); });
  KJ_REQUIRE(got == rest.size(), "a checkpoint file became shorter while it was read", fileName,
             fetched, rest.size(), got);
  crc = extendCrc32c(crc, rest);
  fetched += got;
  taken += length;
  onRead(got);
  return large;
}

void PartStream::finish(uint32_t expected) {
  KJ_REQUIRE(left() == 0, "a checkpoint file has bytes where it should end", fileName, taken,
             left());
  uint32_t stored = readU32(readExactly(file, fileName, bodyEnd, CHECKPOINT_CRC_SIZE));
  onRead(CHECKPOINT_CRC_SIZE);
  if (crc != stored || crc != expected) {
    kj::StringPtr name = fileName;
    auto found = kj::hex(stored), listed = kj::hex(expected), computed = kj::hex(crc);
    KJ_REQUIRE(crc == stored, "a checkpoint file does not have its checksum: it is damaged", name,
               found, computed);
    KJ_FAIL_REQUIRE("a checkpoint file is not the one that the header lists", name, listed,
                    computed);
  }
}

}  // namespace ledger
