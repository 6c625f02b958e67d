// SPDX-License-Identifier: Apache-2.0
#pragma once
// The segment files of a log: their names, and which there are.

#include <kj/filesystem.h>
#include <kj/string.h>

#include <cstdint>

namespace ledger {

struct WalSegment {
  uint64_t number;
  uint64_t size;  // Bytes.
};

// "00000007": the number with at least eight digits.
kj::String walSegmentName(uint64_t number);

// The segments of a directory, ascending. Throws if a number is missing between the first and the
// last, as flow-go does, or if a name is a number but not spelt as walSegmentName() does ("7"):
// flow-go would take such a file for a segment. Other names are none of ours.
kj::Array<WalSegment> listWalSegments(const kj::ReadableDirectory& directory);

// Throws if it is not there.
kj::Own<const kj::ReadableFile> openWalSegment(const kj::ReadableDirectory& directory,
                                               uint64_t number);

// Creates an empty segment; throws if it exists. What an attempt that failed has made all the same is
// removed, so that it can be tried again. The name is on disk only after directory.sync().
kj::Own<const kj::File> createWalSegment(const kj::Directory& directory, uint64_t number);

// Syncs what the log's last writer may not have, and sees to it that it is read from the disk: the
// last segment, and those before it down to one that has bytes. A segment before that was synced before the next one was begun.
void syncWalEnd(const kj::ReadableDirectory& directory);

// Removes the segments up to and including `last` and returns how many. Each name is gone from the
// disk before the next goes, so that a crash leaves numbers without gaps.
size_t removeWalSegments(const kj::Directory& directory, uint64_t last);

}  // namespace ledger
