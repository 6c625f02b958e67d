// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tells what a crash leaves at the end of a log from damage in its middle, and removes the former.
//
// A group of records is written and synced at once, so a crash can tear only what lies within one
// group (WAL_MAX_GROUP bytes, or one longer record) of the log's end, and nobody was told that it
// was written. Such a tail is copied aside and cut: readers, flow-go's too, then read straight on
// to the segments that follow. Anything else may be records that were acknowledged, and is refused.
//
// The pages of a write reach the disk in any order, so any of them may be missing. If what is there
// can only be of one record, all of it is torn, however long it is.
//
// Cautious where the two look alike: a sound fragment that begins a record behind the damage means
// refusal, even if it is the one block of a torn group that reached the disk, or bytes of a torn
// record's value that look like a fragment.

#include "ledger/error.h"
#include "ledger/wal/reader.h"

#include <kj/filesystem.h>

namespace ledger {

// What was cut.
struct TornTail {
  uint64_t segment;
  uint64_t offset;    // Where the segment ends now.
  uint64_t length;    // Bytes cut.
  kj::String backup;  // The file that holds them; null if there were none.
};

// Null if `damage` is a torn tail; else what to tell the operator: file, offset, reason, choices
// (DATA_LOSS). `segments` are all that the directory has. Reads what is behind the damage.
kj::Maybe<Error> refuseUnlessTorn(const kj::ReadableDirectory& directory,
                                  kj::ArrayPtr<const WalSegment> segments, const WalDamage& damage);

// Cuts the segment to the end of its last complete record, once the bytes behind it are safe in
// "torn-<segment>-<offset>.bak", a name that no ledger reads; a number is added if that exists. On
// return both are on disk. Only for damage that refuseUnlessTorn() lets pass, and under the
// directory's lock. If it throws, or the process dies, it can be done again.
TornTail cutTornTail(const kj::Directory& directory, const WalDamage& damage);

}  // namespace ledger
