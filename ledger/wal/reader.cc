// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/reader.h"

#include "ledger/read-fault.h"
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger {
namespace {

constexpr size_t BUFFER_SIZE = 32 * WAL_PAGE_SIZE;

// A record buffer larger than this is given back once its record has been handed out.
constexpr size_t KEPT_RECORD = 32 * WAL_PAGE_SIZE;

constexpr uint64_t nextPage(uint64_t offset) {
  return offset - offset % WAL_PAGE_SIZE + WAL_PAGE_SIZE;
}

bool allZero(kj::ArrayPtr<const kj::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](kj::byte b) { return b == 0; });
}

}  // namespace

WalReader::WalReader(const kj::ReadableDirectory& directory,
                     kj::ArrayPtr<const WalSegment> segments)
    : directory(directory),
      segments(kj::heapArray(segments)),
      buffer(kj::heapArray<kj::byte>(BUFFER_SIZE)) {
  for (size_t i = 0; i < segments.size(); ++i) {
    KJ_REQUIRE(i == 0 || segments[i].number == segments[i - 1].number + 1,
               "segments to read are not consecutive", segments[i].number);
    total += segments[i].size;
  }
}

kj::Maybe<const WalDamage&> WalReader::damage() const {
  KJ_IF_MAYBE (it, found) {
    return *it;
  }
  return nullptr;
}

uint64_t WalReader::bytesDone() const {
  return doneBefore + kj::min(offset, current.size);
}

uint64_t WalReader::bytesTotal() const {
  return total;
}

bool WalReader::openNext() {
  doneBefore += current.size;
  current.size = 0;
  if (nextSegment == segments.size()) return false;
  current = segments[nextSegment++];
  file = openWalSegment(directory, current.number);
  offset = 0;
  goodEnd = 0;
  bufferStart = 0;
  bufferFill = 0;
  return true;
}

kj::ArrayPtr<const kj::byte> WalReader::currentPage() {
  uint64_t pageStart = offset - offset % WAL_PAGE_SIZE;
  if (pageStart < bufferStart || pageStart >= bufferStart + bufferFill) {
    size_t wanted = kj::min(uint64_t(BUFFER_SIZE), current.size - pageStart);
    size_t got = readOrBlameDisk(walSegmentName(current.number), pageStart, [&]() {
      return file->read(pageStart, buffer.slice(0, wanted));
    });
    KJ_REQUIRE(got == wanted, "a log segment became shorter while it was read",
               walSegmentName(current.number), pageStart, wanted, got);
    bufferStart = pageStart;
    bufferFill = got;
  }
  size_t from = pageStart - bufferStart;
  return buffer.slice(from, kj::min(from + WAL_PAGE_SIZE, bufferFill)).asConst();
}

// The first byte's unused bits are not looked at, as everywhere.
bool WalReader::isZeroToPageEnd() {
  auto page = currentPage();
  size_t inPage = offset % WAL_PAGE_SIZE;
  return !(page[inPage] & WAL_TYPE_MASK) && allZero(page.slice(inPage + 1, page.size()));
}

// The next page of the segment that is not all zero.
kj::Maybe<uint64_t> WalReader::findDataBehindPage() {
  const uint64_t from = offset;
  KJ_DEFER(offset = from);
  for (offset = nextPage(from); offset < current.size; offset = nextPage(offset)) {
    if (!allZero(currentPage())) return offset;
  }
  return nullptr;
}

kj::Maybe<WalRecord> WalReader::next() {
  if (found != nullptr) return nullptr;
  if (record.size() > KEPT_RECORD) {
    record = kj::Vector<kj::byte>();
  } else {
    record.clear();
  }
  bool open = false;  // A FIRST was seen. It may be without bytes.
  WalPosition start{};

  auto broken = [&](kj::String reason) -> kj::Maybe<WalRecord> {
    found = WalDamage{.at = {current.number, offset},
                      .reason = kj::mv(reason),
                      .goodEnd = goodEnd,
                      .inRecord = open};
    return nullptr;
  };

  for (;;) {
    if (offset >= current.size) {
      if (open) {
        offset = current.size;
        return broken(kj::str("last record is torn: the segment ends inside a record"));
      }
      if (!openNext()) return nullptr;
      continue;
    }

    auto page = currentPage();
    size_t inPage = offset % WAL_PAGE_SIZE;
    size_t room = WAL_PAGE_SIZE - inPage;
    uint8_t typeByte = page[inPage];
    auto type = static_cast<WalFragmentType>(typeByte & WAL_TYPE_MASK);

    if (room < WAL_HEADER_SIZE) {
      if (!isZeroToPageEnd()) return broken(kj::str("unexpected non-zero byte in padded page"));
      offset = nextPage(offset);
      continue;
    }
    if (type == WalFragmentType::PADDING) {
      if (open) return broken(kj::str("padding inside a record: a fragment of it is missing"));
      if (!isZeroToPageEnd()) return broken(kj::str("unexpected non-zero byte in padded page"));
      // Writers pad where a fragment fits only at the end of a segment: this was not written.
      KJ_IF_MAYBE (data, findDataBehindPage()) {
        return broken(kj::str("zeros where a fragment is missing: data follows at offset ", *data));
      }
      offset = current.size;
      continue;
    }

    if (page.size() - inPage < WAL_HEADER_SIZE) {
      return broken(kj::str("last record is torn: the segment ends inside a fragment's header"));
    }
    auto header = WalFragmentHeader::decode(page.begin() + inPage);
    if (header.length > room - WAL_HEADER_SIZE) {
      return broken(kj::str("invalid record size ", header.length));
    }
    if (header.length > page.size() - inPage - WAL_HEADER_SIZE) {
      return broken(kj::str("last record is torn: the segment ends inside a fragment of ",
                            header.length, " bytes"));
    }
    auto payload = page.slice(inPage + WAL_HEADER_SIZE, inPage + WAL_HEADER_SIZE + header.length);
    uint32_t crc = crc32c(payload);
    if (crc != header.crc) {
      return broken(
          kj::str("unexpected checksum ", kj::hex(crc), ", expected ", kj::hex(header.crc)));
    }

    bool begins = type == WalFragmentType::FULL || type == WalFragmentType::FIRST;
    bool ends = type == WalFragmentType::FULL || type == WalFragmentType::LAST;
    switch (type) {
      case WalFragmentType::FULL:
        if (open) return broken(kj::str("unexpected full record"));
        break;
      case WalFragmentType::FIRST:
        if (open) return broken(kj::str("unexpected first record, dropping buffer"));
        break;
      case WalFragmentType::MIDDLE:
        if (!open) return broken(kj::str("unexpected middle record, dropping buffer"));
        break;
      case WalFragmentType::LAST:
        if (!open) return broken(kj::str("unexpected last record, dropping buffer"));
        break;
      default:
        return broken(kj::str("unexpected record type ", static_cast<uint32_t>(type)));
    }
    if (!ends && WAL_HEADER_SIZE + header.length != room) {
      return broken(kj::str("a fragment of ", header.length,
                            " bytes that is not its record's last does not fill its page"));
    }
    // A header of which only the type reached the disk reads like a record without bytes.
    if (type != WalFragmentType::FIRST && header.length == 0) {
      return broken(kj::str("a fragment without bytes"));
    }
    KJ_REQUIRE(!(typeByte & WAL_SNAPPY_BIT),
               "a record of the log is marked as compressed (snappy), which no ledger writes: this "
               "log was written by another program, or one bit of it was changed",
               walSegmentName(current.number), offset);

    if (begins) {
      open = true;
      start = {current.number, offset};
    }
    offset += WAL_HEADER_SIZE + header.length;
    if (type == WalFragmentType::FULL) {
      goodEnd = offset;
      return WalRecord{payload, start, {current.number, offset}};
    }
    record.addAll(payload);
    if (ends) {
      goodEnd = offset;
      return WalRecord{record, start, {current.number, offset}};
    }
  }
}

}  // namespace ledger
