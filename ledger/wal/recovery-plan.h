// SPDX-License-Identifier: Apache-2.0
#pragma once
// From which checkpoint a ledger starts, which segments it replays, and where it writes.
//
// Checkpoint n stands for every record of the segments up to n: replay goes on with segment n + 1.
// root.checkpoint stands for what was before segment 0.
//
// The rules, with segments first..last:
//  1. A numbered checkpoint n is usable if first - 1 <= n <= last + 1. The highest is tried first,
//     then the next lower: replay from n + 1 makes up for the difference. Not below a checkpoint
//     whose own segment is missing or empty: what was in it may be in that checkpoint alone, and an
//     older one would be an older ledger. It is missing if n = last + 1, and from the next start
//     on, by rule 5, empty.
//  2. If none of them loads, each had its own segment, and first is 0, replay starts at segment 0:
//     from root.checkpoint if it is there (it must load then), from the empty ledger otherwise.
//  3. If first is above 0 and there is no checkpoint of any kind, replay starts at `first` from the
//     empty ledger, and shows by its first record whether that is right.
//  4. Without segments the newest checkpoint is the only choice and must load: an older one would
//     be an older ledger. Without numbered ones, root.checkpoint; without that, the empty ledger.
//  5. Writing starts above every segment and every checkpoint, since a segment up to n would be
//     skipped with checkpoint n. Numbers between `last` and there become empty segments.
//
// Refused, because what is on disk would be left out without a word:
//  6. the newest checkpoint is above last + 1: the segments in between are missing;
//  7. there are checkpoints, but the newest is below first - 1: likewise;
//  8. first is above 0 and root.checkpoint is all there is.
//
// Rules 1, 2 and 3 are flow-go's, but that it goes below every checkpoint. In 4, 6 and 7 it starts
// with the empty ledger or an older one, and in 5 it may write where the next start does not read.

#include "ledger/error.h"

#include <kj/array.h>

#include <cstdint>

namespace ledger {

// Ascending numbers, as listWalSegments() (so without gaps) and listCheckpoints() give them.
struct LedgerFiles {
  kj::ArrayPtr<const uint64_t> segments;
  kj::ArrayPtr<const uint64_t> checkpoints;
  bool rootCheckpoint = false;
  kj::ArrayPtr<const uint64_t> emptySegments = nullptr;  // Those of `segments` without a byte.
};

struct RecoveryStart {
  enum class From { CHECKPOINT, ROOT_CHECKPOINT, EMPTY_LEDGER } from;
  uint64_t checkpoint;  // Its number; with CHECKPOINT only.
  // The first segment to replay; all above it follow. Above the last one: none is.
  uint64_t replayFrom;

  bool operator==(const RecoveryStart&) const = default;
};

struct RecoveryPlan {
  // To be tried in this order: the next only if this one's checkpoint does not load. If the last
  // one does not load either, the ledger cannot be opened.
  kj::Array<RecoveryStart> starts;

  // For WalWriterOptions.
  uint64_t firstSegmentToCreate;
  uint64_t writeSegment;
};

// Error: rules 6 to 8 (FAILED_PRECONDITION), with the operator's choices.
Result<RecoveryPlan> planRecovery(const LedgerFiles& files);

}  // namespace ledger
