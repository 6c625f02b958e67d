// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/writer.h"

#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

namespace ledger {
namespace {

// A group buffer larger than this is given back after its commit.
constexpr size_t KEPT_GROUP = 2 * WAL_MAX_GROUP;

constexpr uint64_t pageRest(uint64_t offset) {
  return WAL_PAGE_SIZE - offset % WAL_PAGE_SIZE;
}

// Payload bytes that fit from `offset` to the segment's end with one header a page. None if an
// over-long record has taken the segment beyond its size.
uint64_t segmentRoom(uint64_t offset, uint64_t segmentSize) {
  uint64_t page = offset / WAL_PAGE_SIZE;
  uint64_t pages = segmentSize / WAL_PAGE_SIZE;
  if (page >= pages) return 0;
  return pageRest(offset) - WAL_HEADER_SIZE + WAL_MAX_FRAGMENT * (pages - page - 1);
}

void addHeader(kj::Vector<kj::byte>& to, WalFragmentType type,
               kj::ArrayPtr<const kj::byte> payload) {
  kj::byte bytes[WAL_HEADER_SIZE];
  WalFragmentHeader{.typeByte = static_cast<uint8_t>(type),
                    .length = static_cast<uint16_t>(payload.size()),
                    .crc = crc32c(payload)}
      .encode(bytes);
  to.addAll(kj::arrayPtr(bytes, sizeof(bytes)));
}

WalFragmentType fragmentType(bool first, bool last) {
  if (first) return last ? WalFragmentType::FULL : WalFragmentType::FIRST;
  return last ? WalFragmentType::LAST : WalFragmentType::MIDDLE;
}

}  // namespace

WalWriter::WalWriter(kj::Own<const kj::Directory> directoryParam, WalWriterOptions options)
    : directory(kj::mv(directoryParam)),
      segmentSize(options.segmentSize),
      syncing(options.sync),
      meters(options.meters),
      committed{.segment = options.segment, .offset = 0},
      laidOut(committed) {
  KJ_REQUIRE(segmentSize > 0 && segmentSize % WAL_PAGE_SIZE == 0,
             "a segment's size must be a multiple of the page size", segmentSize, WAL_PAGE_SIZE);
  KJ_REQUIRE(options.firstToCreate <= options.segment);
  for (uint64_t number = options.firstToCreate; number < options.segment; ++number) {
    createWalSegment(*directory, number);
  }
  file = createWalSegment(*directory, options.segment);
  directory->sync();
}

void WalWriter::requireUsable() const {
  KJ_REQUIRE(!closed, "the log is closed");
  KJ_IF_MAYBE (cause, poison) {
    KJ_FAIL_REQUIRE(
        "the log takes no more records since a write to it failed in a way that leaves unknown "
        "what is on disk; restart to open it anew",
        walSegmentName(committed.segment), committed.offset, cause->getDescription());
  }
}

uint64_t WalWriter::groupSize() const {
  return group.size();
}

void WalWriter::discard() {
  if (group.capacity() > KEPT_GROUP) {
    group = kj::Vector<kj::byte>();
  } else {
    group.clear();
  }
  pieces.clear();
  laidOut = committed;
}

void WalWriter::pad(uint64_t length) {
  for (uint64_t i = 0; i < length; ++i) group.add(0);
  laidOut.offset += length;
}

void WalWriter::padPage() {
  if (laidOut.offset % WAL_PAGE_SIZE != 0) pad(pageRest(laidOut.offset));
}

void WalWriter::startSegment() {
  ++laidOut.segment;
  laidOut.offset = 0;
  pieces.add(Piece{laidOut.segment, 0, group.size()});
}

void WalWriter::append(kj::ArrayPtr<const kj::byte> record) {
  requireUsable();
  KJ_REQUIRE(record.size() > 0, "a record must not be empty");

  // All memory first, so that a shortage leaves the group as it was. Fragments: those of full
  // pages, and a shorter one at each end; padding: before a new segment, and behind the record.
  size_t fragments = record.size() / WAL_MAX_FRAGMENT + 2;
  const size_t needed =
      group.size() + record.size() + fragments * WAL_HEADER_SIZE + 2 * WAL_PAGE_SIZE;
  // Doubled, so that a group of many small records is not copied with each of them.
  if (needed > group.capacity()) group.reserve(kj::max(needed, 2 * group.capacity()));
  pieces.reserve(pieces.size() + 2);

  if (pieces.size() == 0) pieces.add(Piece{laidOut.segment, laidOut.offset, 0});
  if (pageRest(laidOut.offset) < WAL_HEADER_SIZE) padPage();
  if (record.size() > segmentRoom(laidOut.offset, segmentSize)) {
    // Also out of a segment that is still empty: flow-go leaves it so.
    padPage();
    startSegment();
  }

  auto rest = record;
  for (bool first = true; first || rest.size() > 0; first = false) {
    uint64_t room = pageRest(laidOut.offset) - WAL_HEADER_SIZE;
    auto payload = rest.slice(0, kj::min(uint64_t(rest.size()), room));
    rest = rest.slice(payload.size(), rest.size());
    addHeader(group, fragmentType(first, rest.size() == 0), payload);
    group.addAll(payload);
    laidOut.offset += WAL_HEADER_SIZE + payload.size();
    if (pageRest(laidOut.offset) < WAL_HEADER_SIZE) padPage();
  }
}

void WalWriter::commit() {
  requireUsable();
  if (pieces.size() == 0) return;
  writeGroup();
  committed = laidOut;
  discard();
}

void WalWriter::sync() {
  requireUsable();
  if (unsynced == 0) return;
  syncOrPoison([&]() { file->datasync(); });
  unsynced = 0;
}

// The rest of the segment's last page, in a group of its own.
void WalWriter::appendPadding() {
  if (committed.offset % WAL_PAGE_SIZE == 0) return;
  pieces.add(Piece{committed.segment, committed.offset, 0});
  padPage();
}

uint64_t WalWriter::finishSegment() {
  commit();
  const uint64_t finished = committed.segment;
  // One group: padding must not stay where the next segment cannot be begun, since a segment ends
  // with its first padding.
  appendPadding();
  startSegment();
  commit();
  return finished;
}

void WalWriter::close() {
  commit();
  appendPadding();
  commit();
  sync();
  closed = true;
}

void WalWriter::writeGroup() {
  kj::Own<const kj::File> newest;  // Null while all bytes go to `file`.
  kj::Vector<uint64_t> created;
  uint64_t pending = unsynced;  // Of the file that is being written.

  auto targetOf = [this](const kj::Own<const kj::File>& newest) -> const kj::File& {
    return newest.get() == nullptr ? *file : *newest;
  };
  auto failure = kj::runCatchingExceptions([&]() {
    for (size_t i = 0; i < pieces.size(); ++i) {
      auto& piece = pieces[i];
      size_t end = i + 1 < pieces.size() ? pieces[i + 1].start : group.size();
      if (piece.offset == 0 && piece.segment != committed.segment) {
        if (pending > 0) syncOrPoison([&]() { targetOf(newest).datasync(); });
        pending = 0;
        newest = createWalSegment(*directory, piece.segment);
        created.add(piece.segment);
        syncOrPoison([&]() { directory->sync(); });
      }
      if (end == piece.start) continue;
      if (pending > 0 && pending + (end - piece.start) > WAL_MAX_GROUP) {
        syncOrPoison([&]() { targetOf(newest).datasync(); });
        pending = 0;
      }
      targetOf(newest).write(piece.offset, group.slice(piece.start, end).asConst());
      const uint64_t pieceEnd = piece.offset + (end - piece.start);
      const uint64_t firstPage = piece.offset / WAL_PAGE_SIZE;
      meters.pages.add((pieceEnd + WAL_PAGE_SIZE - 1) / WAL_PAGE_SIZE - firstPage);
      meters.completedPages.add(pieceEnd / WAL_PAGE_SIZE - firstPage);
      pending += end - piece.start;
      if (syncing == WalSync::COMMIT) {
        syncOrPoison([&]() { targetOf(newest).datasync(); });
        pending = 0;
      }
    }
  });

  KJ_IF_MAYBE (cause, failure) {
    meters.failedGroups.add();
    newest = nullptr;
    undoGroup(created);
    discard();
    kj::throwFatalException(kj::mv(*cause));
  }
  if (newest.get() != nullptr) file = kj::mv(newest);
  unsynced = pending;
}

void WalWriter::syncOrPoison(kj::FunctionParam<void()> sync) {
  const Stopwatch watch;
  KJ_IF_MAYBE (cause, kj::runCatchingExceptions([&]() { sync(); })) {
    poison = kj::cp(*cause);
    kj::throwFatalException(kj::mv(*cause));
  }
  meters.syncs.add(watch.elapsed());
}

// Takes back what a failed commit() wrote. With the writer poisoned too, as far as it goes: a
// record that was refused should not be found at the next start. So each step is tried, whatever
// became of the others, and the bytes go before the names.
void WalWriter::undoGroup(kj::ArrayPtr<const uint64_t> created) {
  const bool canSync = poison == nullptr;
  auto attempt = [&](auto&& step) {
    KJ_IF_MAYBE (cause, kj::runCatchingExceptions([&]() { step(); })) {
      if (poison == nullptr) poison = kj::mv(*cause);
      return false;
    }
    return true;
  };

  attempt([&]() { file->truncate(committed.offset); });
  for (uint64_t number : created) {
    kj::Path name(walSegmentName(number));
    attempt([&]() { directory->openFile(name, kj::WriteMode::MODIFY)->truncate(0); });
  }
  // From the last one on, and none below one that stays: numbers have no gaps.
  for (size_t i = created.size(); i > 0; --i) {
    kj::Path name(walSegmentName(created[i - 1]));
    if (!attempt([&]() { directory->remove(name); })) break;
  }
  if (!canSync) return;
  if (created.size() > 0) attempt([&]() { directory->sync(); });
  attempt([&]() { file->sync(); });
}

}  // namespace ledger
