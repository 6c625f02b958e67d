// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads the records of a log, in order, and says how the log ends.
//
// The end is never silent: it is clean, or there is damage at a place and for a reason. Whether
// damage is the torn tail of a crash is decided in torn-tail.h.
//
// The rules are those of flow-go's reader, and stricter where only damage makes a difference: the
// bytes of a fragment must be in the file (only padding may be missing at a segment's end); a
// fragment that is not its record's last fills its page; padding that has room for a fragment ends
// its segment; a record stays in one segment and is not empty. Every log that flow-go's writer, or
// ours, wrote in peace passes.

#include "ledger/wal/format.h"
#include "ledger/wal/segment.h"

#include <kj/filesystem.h>
#include <kj/vector.h>

namespace ledger {

struct WalRecord {
  kj::ArrayPtr<const kj::byte> bytes;  // Until the next call.
  WalPosition start;                   // Of its first fragment's header.
  WalPosition end;                     // Behind its last byte; padding not included.
};

struct WalDamage {
  WalPosition at;  // Of the fragment, or the padding, that is wrong.
  kj::String reason;
  // End of the last complete record of the same segment, 0 if it has none: what is before is good.
  uint64_t goodEnd;
  // A record had begun, with good fragments, between goodEnd and the damage.
  bool inRecord;
};

// Memory: one read buffer, and one record where it is made of several fragments. A record is never
// longer than its segment's file. Thread: one at a time.
class WalReader final {
public:
  // Reads `segments`, consecutive ones of `directory`, which must outlive the reader; of each as
  // many bytes as listed here, though the file may have grown since.
  WalReader(const kj::ReadableDirectory& directory, kj::ArrayPtr<const WalSegment> segments);
  KJ_DISALLOW_COPY(WalReader);

  // Null at the end of the log, or at damage: see damage(). Throws if a record is sound but
  // compressed, which no ledger writes, and if the file cannot be read (read-fault.h).
  kj::Maybe<WalRecord> next();

  // Null while there is none: after next() returned null, the log ended clean.
  kj::Maybe<const WalDamage&> damage() const;

  uint64_t bytesDone() const;   // For progress.
  uint64_t bytesTotal() const;  // Of all segments.

private:
  bool openNext();
  // The bytes of the current page that the file holds; reads on if need be.
  kj::ArrayPtr<const kj::byte> currentPage();
  bool isZeroToPageEnd();
  kj::Maybe<uint64_t> findDataBehindPage();

  const kj::ReadableDirectory& directory;
  kj::Array<WalSegment> segments;
  uint64_t total = 0;
  uint64_t doneBefore = 0;  // Bytes of the segments before the current one.

  size_t nextSegment = 0;  // Index in `segments`.
  kj::Own<const kj::ReadableFile> file;
  WalSegment current{};
  uint64_t offset = 0;   // Of the next fragment in the current segment.
  uint64_t goodEnd = 0;  // As in WalDamage.

  kj::Array<kj::byte> buffer;  // Whole pages.
  uint64_t bufferStart = 0;    // Offset in the segment of the buffer's first byte.
  size_t bufferFill = 0;

  kj::Vector<kj::byte> record;  // The fragments so far.
  kj::Maybe<WalDamage> found;
};

}  // namespace ledger
