// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/torn-tail.h"

#include "ledger/read-fault.h"
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

namespace ledger {
namespace {

constexpr size_t SLICE = 32 * WAL_PAGE_SIZE;

constexpr auto FULL = static_cast<uint8_t>(WalFragmentType::FULL);
constexpr auto FIRST = static_cast<uint8_t>(WalFragmentType::FIRST);
constexpr auto MIDDLE = static_cast<uint8_t>(WalFragmentType::MIDDLE);
constexpr auto LAST = static_cast<uint8_t>(WalFragmentType::LAST);

// Whether a sound fragment that begins a record stands at `at` of a page's bytes.
bool recordBegins(kj::ArrayPtr<const kj::byte> page, size_t at) {
  if (page.size() - at <= WAL_HEADER_SIZE) return false;
  auto header = WalFragmentHeader::decode(page.begin() + at);
  bool first = header.typeByte == FIRST;
  // One without bytes is seven bytes that occur by chance.
  if ((header.typeByte != FULL && !first) || header.length == 0) return false;
  size_t end = at + WAL_HEADER_SIZE + header.length;
  if (end > page.size() || (first && end != WAL_PAGE_SIZE)) return false;
  return crc32c(page.slice(at + WAL_HEADER_SIZE, end)) == header.crc;
}

// The first sound fragment from `offset` on that begins a record. Looks at every byte: a damaged
// header does not say where the next one is.
kj::Maybe<uint64_t> findRecord(const kj::ReadableFile& file, uint64_t offset, uint64_t size) {
  auto page = kj::heapArray<kj::byte>(WAL_PAGE_SIZE);
  for (uint64_t start = offset - offset % WAL_PAGE_SIZE; start < size; start += WAL_PAGE_SIZE) {
    size_t held = file.read(start, page.slice(0, kj::min(WAL_PAGE_SIZE, size - start)));
    auto bytes = page.slice(0, held).asConst();
    for (const kj::byte* at = bytes.begin() + (start < offset ? offset - start : 0);
         at < bytes.end(); ++at) {
      if (*at != FULL && *at != FIRST) continue;  // Nearly all.
      size_t inPage = at - bytes.begin();
      if (recordBegins(bytes, inPage)) return start + inPage;
    }
  }
  return nullptr;
}

// Bytes up to the last one that is not zero.
size_t dataSize(kj::ArrayPtr<const kj::byte> bytes) {
  size_t size = bytes.size();
  while (size > 0 && bytes[size - 1] == 0) --size;
  return size;
}

// The bytes of the sound fragment, of a record that began in an earlier page, with which a page
// starts; 0 if none does.
size_t recordGoesOn(kj::ArrayPtr<const kj::byte> page) {
  if (page.size() <= WAL_HEADER_SIZE) return 0;
  auto header = WalFragmentHeader::decode(page.begin());
  bool middle = header.typeByte == MIDDLE;
  if ((header.typeByte != LAST && !middle) || header.length == 0) return 0;
  size_t end = WAL_HEADER_SIZE + header.length;
  if (end > page.size() || (middle && end != WAL_PAGE_SIZE)) return 0;
  return crc32c(page.slice(WAL_HEADER_SIZE, end)) == header.crc ? end : 0;
}

// Whether all behind the last good record can be of one group: short enough, or one record. That is
// recognised by its sound fragments: nothing but zeros follows its last one. Some of its pages may
// be missing, and not more than a group may be unreadable: that could have been other records.
bool canBeOneGroup(const kj::ReadableFile& file, const WalDamage& damage, uint64_t size) {
  uint64_t dataEnd = damage.at.offset;  // What follows is zero.
  uint64_t unreadable = 0;
  bool ended = false;     // A record's last fragment was seen.
  bool oneRecord = true;  // As far as can be seen.

  auto page = kj::heapArray<kj::byte>(WAL_PAGE_SIZE);
  const uint64_t from = damage.at.offset;
  for (uint64_t start = from - from % WAL_PAGE_SIZE; start < size; start += WAL_PAGE_SIZE) {
    size_t read = file.read(start, page.slice(0, kj::min(WAL_PAGE_SIZE, size - start)));
    auto bytes = page.slice(start < from ? from - start : 0, read).asConst();
    size_t held = dataSize(bytes);
    if (held == 0) continue;
    dataEnd = start + (bytes.begin() - page.begin()) + held;
    if (ended) oneRecord = false;
    size_t sound = start < from ? 0 : recordGoesOn(bytes);
    if (sound == 0) {
      unreadable += held;
    } else if (bytes[0] == LAST) {
      ended = true;
      if (held > sound) oneRecord = false;
    }
  }
  if (dataEnd - damage.goodEnd <= WAL_MAX_GROUP) return true;
  return oneRecord && unreadable <= WAL_MAX_GROUP;
}

Error refusal(const WalDamage& damage, kj::StringPtr why) {
  auto name = walSegmentName(damage.at.segment);
  return makeError(
      Code::DATA_LOSS, Reason::UNSPECIFIED, "the log is damaged: file ", name, " at offset ",
      damage.at.offset, ": ", damage.reason, ". This is not the torn tail of a crash: ", why,
      ". Nothing was changed. Choices: put ", name,
      " back from a backup; or put a checkpoint in place that covers segment ", damage.at.segment,
      "; or, if a crash tore it before later segments were begun, cut ", name, " to ",
      damage.goodEnd,
      " bytes and keep them; or give up every record from there on: cut it and move "
      "later segments away.");
}

kj::String backupName(const WalDamage& damage, unsigned attempt) {
  auto base = kj::str("torn-", walSegmentName(damage.at.segment), "-", damage.goodEnd);
  return attempt == 0 ? kj::str(base, ".bak") : kj::str(base, "-", attempt, ".bak");
}

}  // namespace

kj::Maybe<Error> refuseUnlessTorn(const kj::ReadableDirectory& directory,
                                  kj::ArrayPtr<const WalSegment> segments,
                                  const WalDamage& damage) {
  for (auto& segment : segments) {
    if (segment.number > damage.at.segment && segment.size > 0) {
      return refusal(damage, kj::str("segment ", walSegmentName(segment.number),
                                     " was written after it and holds ", segment.size, " bytes"));
    }
  }

  auto file = openWalSegment(directory, damage.at.segment);
  uint64_t size = file->stat().size;
  KJ_REQUIRE(damage.goodEnd <= damage.at.offset && damage.at.offset <= size,
             "the damage lies outside the segment", walSegmentName(damage.at.segment),
             damage.at.offset, size);

  const auto name = walSegmentName(damage.at.segment);
  if (!readOrBlameDisk(name, damage.at.offset,
                       [&]() { return canBeOneGroup(*file, damage, size); })) {
    return refusal(damage, kj::str(size - damage.goodEnd,
                                   " bytes follow the last good record, and one write of the log "
                                   "has at most ",
                                   WAL_MAX_GROUP, " or is one record, which these are not"));
  }
  auto found = readOrBlameDisk(name, damage.at.offset,
                               [&]() { return findRecord(*file, damage.at.offset, size); });
  KJ_IF_MAYBE (next, found) {
    return refusal(damage, kj::str("a sound record follows at offset ", *next));
  }
  return nullptr;
}

TornTail cutTornTail(const kj::Directory& directory, const WalDamage& damage) {
  auto name = walSegmentName(damage.at.segment);
  auto file = directory.openFile(kj::Path(name), kj::WriteMode::MODIFY);
  uint64_t size = file->stat().size;
  KJ_REQUIRE(damage.goodEnd <= size, "the segment is shorter than its good part", name,
             damage.goodEnd, size);
  TornTail cut{damage.at.segment, damage.goodEnd, size - damage.goodEnd, nullptr};
  if (cut.length == 0) return cut;

  kj::Own<const kj::File> backup;
  for (unsigned attempt = 0; backup.get() == nullptr; ++attempt) {
    cut.backup = backupName(damage, attempt);
    KJ_IF_MAYBE (created, directory.tryOpenFile(kj::Path(cut.backup), kj::WriteMode::CREATE)) {
      backup = kj::mv(*created);
    }
  }
  auto slice = kj::heapArray<kj::byte>(kj::min(uint64_t(SLICE), cut.length));
  for (uint64_t done = 0; done < cut.length;) {
    auto part = slice.slice(0, kj::min(uint64_t(slice.size()), cut.length - done));
    size_t got = file->read(cut.offset + done, part);
    KJ_REQUIRE(got == part.size(), "a log segment became shorter while it was read", name,
               cut.offset + done, part.size(), got);
    backup->write(done, part);
    done += got;
  }
  backup->sync();
  directory.sync();

  file->truncate(cut.offset);
  file->sync();
  return cut;
}

}  // namespace ledger
