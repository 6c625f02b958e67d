// SPDX-License-Identifier: Apache-2.0
#pragma once
// Appends records to a log, byte for byte as flow-go's writer does.
//
// Records are gathered into a group: append() only lays them out in memory, commit() writes the
// whole group, with one write in each segment that it touches, or undoes it. With WalSync::COMMIT it
// also makes it durable, with one fdatasync in each segment; else sync() does that later. A segment
// is synced in any case before the next one is begun, and before a write that would bring the
// unsynced bytes over WAL_MAX_GROUP: whatever a crash tears lies within that of the log's end.
//
// What a failure means. If bytes cannot be written (a full disk, say) the segment is cut back to
// the last committed byte; if that succeeds, and a sync after it, the writer stays usable, else it
// is poisoned. If a sync fails nobody knows what is on disk, and asking again would not tell: the
// writer is poisoned. A poisoned writer throws at every call until the log is opened anew.
//
// An existing segment is never appended to: each start writes a new one.

#include "ledger/meters.h"
#include "ledger/wal/format.h"
#include "ledger/wal/segment.h"

#include <kj/exception.h>
#include <kj/filesystem.h>
#include <kj/function.h>
#include <kj/vector.h>

namespace ledger {

// When a group is made durable.
enum class WalSync {
  COMMIT,  // By commit().
  LATER,   // By sync(), and where a segment ends.
};

struct WalWriterOptions {
  // The segment to write. It and those from `firstToCreate` up to it must not exist; all are
  // created, those below `segment` stay empty (flow-go wants numbers without gaps).
  uint64_t segment = 0;
  uint64_t firstToCreate = 0;

  // Bytes; a multiple of WAL_PAGE_SIZE. A longer record makes a longer segment.
  uint64_t segmentSize = WAL_DEFAULT_SEGMENT_SIZE;

  WalSync sync = WalSync::COMMIT;

  const WalMeters& meters = LedgerMeters::unread().wal;  // Outlives the writer.
};

// Thread: one at a time; a clean end needs close(), the destructor writes nothing.
class WalWriter final {
public:
  // On return the new segments' names are on disk.
  WalWriter(kj::Own<const kj::Directory> directory, WalWriterOptions options);
  KJ_DISALLOW_COPY(WalWriter);

  // Copies a record, which must not be empty, into the group. Nothing is written.
  void append(kj::ArrayPtr<const kj::byte> record);

  // Bytes of the group so far, headers and padding included. Who gathers a group keeps it under
  // WAL_MAX_GROUP, or makes it of one record: readers rely on that to know a torn tail.
  uint64_t groupSize() const;

  // The segment that the last record appended is in.
  uint64_t appendedSegment() const { return laidOut.segment; }

  // All records of the group are written when it returns, and with WalSync::COMMIT on disk; when it
  // throws, none was acknowledged and the group is empty again.
  void commit();

  // Makes durable what was committed. Throws if that fails; the writer is poisoned then.
  void sync();
  bool isSynced() const { return unsynced == 0; }

  // Commits, fills the last page with zeros and begins the next segment. Returns the number of the
  // one that was finished; it is durable then, and so is the next one's name. If it throws, the
  // segment goes on.
  uint64_t finishSegment();

  // Forgets the group.
  void discard();

  // Commits, fills the last page with zeros and syncs. No call may follow.
  void close();

  // Of the last committed record; the segment opened, before the first.
  uint64_t segment() const { return committed.segment; }
  bool isPoisoned() const { return poison != nullptr; }

private:
  // What a group adds to one segment.
  struct Piece {
    uint64_t segment;
    uint64_t offset;
    size_t start;  // In `group`; ends where the next piece begins.
  };

  void requireUsable() const;
  void pad(uint64_t length);
  void padPage();
  void startSegment();
  void writeGroup();
  void appendPadding();
  void syncOrPoison(kj::FunctionParam<void()> sync);
  void undoGroup(kj::ArrayPtr<const uint64_t> created);

  const kj::Own<const kj::Directory> directory;
  const uint64_t segmentSize;
  const WalSync syncing;
  const WalMeters& meters;
  kj::Own<const kj::File> file;  // The segment that the last committed byte is in.
  WalPosition committed;         // The end of what is written.
  WalPosition laidOut;           // The same with the group.
  uint64_t unsynced = 0;         // Committed bytes of `file` that no sync has covered.

  kj::Vector<kj::byte> group;
  kj::Vector<Piece> pieces;

  kj::Maybe<kj::Exception> poison;
  bool closed = false;
};

}  // namespace ledger
