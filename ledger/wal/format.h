// SPDX-License-Identifier: Apache-2.0
#pragma once
// The shape of a write-ahead log on disk; shared by its reader and its writer.
//
// A log is a row of segment files with consecutive numbers. A segment is a row of pages, a page a
// row of fragments, and a record is one fragment or several in neighbouring pages of one segment.
// Numbers are big-endian. A worked example is in docs/formats.md, "Write-ahead log".
//
// Source: github.com/onflow/wal v1.0.2. These values are on the disks of every node: never change.

#include <kj/array.h>

#include <cstdint>

namespace ledger {

constexpr uint64_t WAL_PAGE_SIZE = 32768;
constexpr uint64_t WAL_DEFAULT_SEGMENT_SIZE = uint64_t(32) << 20;

// Type and flags (1 byte), payload length (2), CRC-32C of the payload (4).
constexpr uint64_t WAL_HEADER_SIZE = 7;
constexpr uint64_t WAL_MAX_FRAGMENT = WAL_PAGE_SIZE - WAL_HEADER_SIZE;

// The most bytes that a group of records, written and synced together, may have; a record that is
// longer is a group of its own. So all that a crash can tear lies this close to the log's end.
constexpr uint64_t WAL_MAX_GROUP = uint64_t(16) << 20;

enum class WalFragmentType : uint8_t {
  PADDING = 0,  // The rest of the page is zero.
  FULL = 1,
  FIRST = 2,
  MIDDLE = 3,
  LAST = 4,
};

// Of a header's first byte. The bits above are unused: written as zero, not looked at.
constexpr uint8_t WAL_TYPE_MASK = 0x07;
constexpr uint8_t WAL_SNAPPY_BIT = 0x08;  // A ledger's log never has it.

struct WalFragmentHeader {
  uint8_t typeByte;
  uint16_t length;
  uint32_t crc;

  static WalFragmentHeader decode(const kj::byte* from) {
    return {.typeByte = from[0],
            .length = static_cast<uint16_t>(from[1] << 8 | from[2]),
            .crc = uint32_t(from[3]) << 24 | uint32_t(from[4]) << 16 | uint32_t(from[5]) << 8 |
                   uint32_t(from[6])};
  }

  void encode(kj::byte* to) const {
    to[0] = typeByte;
    to[1] = static_cast<kj::byte>(length >> 8);
    to[2] = static_cast<kj::byte>(length);
    to[3] = static_cast<kj::byte>(crc >> 24);
    to[4] = static_cast<kj::byte>(crc >> 16);
    to[5] = static_cast<kj::byte>(crc >> 8);
    to[6] = static_cast<kj::byte>(crc);
  }
};

// A place in the log.
struct WalPosition {
  uint64_t segment;
  uint64_t offset;  // Bytes from the start of the segment's file.

  bool operator==(const WalPosition&) const = default;
};

}  // namespace ledger
