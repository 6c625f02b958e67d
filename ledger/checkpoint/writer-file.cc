// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/writer-file.h"

#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

#include <cstring>
#include <fcntl.h>

namespace ledger {
namespace {

// What is written at once: filled and written in less than a millisecond.
constexpr size_t BUFFER_SIZE = 128 << 10;

// Of a long queue: a few milliseconds of a slow disk.
constexpr uint64_t LONG_QUEUE_BYTES = 1 << 20;

// Brings bytes to the disk without syncing the file, where the file is on one; `flags` as for
// sync_file_range(2). Only a hint.
void writeBack(const kj::File& file, uint64_t offset, uint64_t length, unsigned flags) {
  if (length == 0) return;  // That would be all of the file.
  KJ_IF_MAYBE (fd, file.getFd()) {
    sync_file_range(*fd, offset, length, flags);
  }
}

}  // namespace

CheckpointFile::CheckpointFile(const kj::File& file, kj::StringPtr name,
                               kj::Function<Queue(uint64_t)> onWritten)
    : file(file),
      name(name),
      onWritten(kj::mv(onWritten)),
      buffer(kj::heapArray<kj::byte>(BUFFER_SIZE)) {}

void CheckpointFile::bytes(kj::ArrayPtr<const kj::byte> more) {
  if (more.size() > buffer.size() - fill) {
    flush();
    if (more.size() >= buffer.size()) {
      writeOut(more);
      return;
    }
  }
  if (more.size() > 0) memcpy(buffer.begin() + fill, more.begin(), more.size());
  fill += more.size();
}

void CheckpointFile::flush() {
  if (fill > 0) writeOut(buffer.slice(0, fill));
  fill = 0;
}

void CheckpointFile::writeOut(kj::ArrayPtr<const kj::byte> more) {
  KJ_CONTEXT("writing a checkpoint file", name, written, more.size());
  file.write(written, more);
  crc = extendCrc32c(crc, more);
  // Before the next one goes, there is room for it in the queue.
  const uint64_t most = queue == Queue::LONG ? LONG_QUEUE_BYTES : 0;
  const uint64_t awaited = inFlight > most ? inFlight - most : 0;
  writeBack(file, written - inFlight, awaited,
            SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
  writeBack(file, written, more.size(), SYNC_FILE_RANGE_WRITE);
  inFlight += more.size() - awaited;
  written += more.size();
  queue = onWritten(more.size());
}

uint32_t CheckpointFile::finish() {
  flush();
  auto checksum = crc;
  number(checksum);
  flush();
  KJ_CONTEXT("syncing a checkpoint file", name, written);
  file.sync();
  // Nobody reads it soon, and the log and the stores have a better use for the memory. Only advice:
  // if it is not taken, nothing is lost.
  KJ_IF_MAYBE (fd, file.getFd()) {
    posix_fadvise(*fd, 0, 0, POSIX_FADV_DONTNEED);
  }
  return checksum;
}

}  // namespace ledger
