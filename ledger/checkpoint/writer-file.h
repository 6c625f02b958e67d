// SPDX-License-Identifier: Apache-2.0
#pragma once
// One file of a checkpoint, written from front to back under a temporary name and summed up on the
// way.

#include "ledger/model.h"

#include <kj/array.h>
#include <kj/filesystem.h>
#include <kj/function.h>
#include <kj/string.h>

#include <concepts>
#include <cstdint>

namespace ledger {

// Thread: one at a time.
class CheckpointFile final {
public:
  // How much may be on its way to the disk while the next bytes are put together. SHORT: whoever
  // syncs another file meanwhile does not wait for long. LONG: the disk is kept busy.
  enum class Queue { SHORT, LONG };

  // `onWritten` is told how many bytes each write has brought, and says how long the queue may be;
  // `file` and `name`, for messages, must outlive this object.
  CheckpointFile(const kj::File& file, kj::StringPtr name, kj::Function<Queue(uint64_t)> onWritten);
  KJ_DISALLOW_COPY(CheckpointFile);

  // Big-endian.
  template <std::unsigned_integral T>
  void number(T value) {
    kj::byte text[sizeof(T)];
    for (size_t i = 0; i < sizeof(T); ++i) {
      text[i] = static_cast<kj::byte>(value >> (8 * (sizeof(T) - 1 - i)));
    }
    bytes(kj::arrayPtr(text, sizeof(T)));
  }

  void bytes(kj::ArrayPtr<const kj::byte> more);

  // Adds `length` bytes, at most 1,024, and returns where: the caller fills them before anything
  // else is added.
  kj::byte* room(size_t length) {
    if (length > buffer.size() - fill) flush();
    auto* at = buffer.begin() + fill;
    fill += length;
    return at;
  }

  // Adds the checksum and syncs the file. Returns the checksum. Nothing can be added then.
  uint32_t finish();

private:
  void writeOut(kj::ArrayPtr<const kj::byte> more);
  void flush();

  const kj::File& file;
  const kj::StringPtr name;
  kj::Function<Queue(uint64_t)> onWritten;
  kj::Array<kj::byte> buffer;
  size_t fill = 0;
  uint64_t written = 0;   // Bytes in the file: all of them in `crc`.
  uint64_t inFlight = 0;  // Of these, the last: perhaps still on their way to the disk.
  Queue queue = Queue::SHORT;
  uint32_t crc = 0;
};

}  // namespace ledger
