// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/recovery-plan.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>

namespace ledger {
namespace {

using From = RecoveryStart::From;

template <typename... Params>
Error refusal(Params&&... why) {
  return makeError(Code::FAILED_PRECONDITION, Reason::UNSPECIFIED, kj::fwd<Params>(why)...);
}

RecoveryStart fromCheckpoint(uint64_t number) {
  return {From::CHECKPOINT, number, number + 1};
}

RecoveryStart fromBase(bool rootCheckpoint, uint64_t first) {
  return {rootCheckpoint ? From::ROOT_CHECKPOINT : From::EMPTY_LEDGER, 0, first};
}

RecoveryPlan planWithoutSegments(const LedgerFiles& files) {
  if (files.checkpoints.size() == 0) {
    return {kj::arr(fromBase(files.rootCheckpoint, 0)), 0, 0};
  }
  uint64_t newest = files.checkpoints.back();
  return {kj::arr(fromCheckpoint(newest)), newest + 1, newest + 1};
}

bool contains(kj::ArrayPtr<const uint64_t> numbers, uint64_t number) {
  return std::binary_search(numbers.begin(), numbers.end(), number);
}

}  // namespace

Result<RecoveryPlan> planRecovery(const LedgerFiles& files) {
  if (files.segments.size() == 0) return planWithoutSegments(files);

  uint64_t first = files.segments.front();
  uint64_t last = files.segments.back();
  KJ_REQUIRE(last - first + 1 == files.segments.size(), "the segments are not consecutive", first,
             last, files.segments.size());

  kj::Vector<RecoveryStart> starts;
  bool replaceable = true;  // Whether replay from further back makes up for the last of `starts`.
  uint64_t writeSegment = last + 1;

  if (files.checkpoints.size() > 0) {
    uint64_t newest = files.checkpoints.back();
    if (newest > last + 1) {
      return refusal("checkpoint ", newest, " is above the last segment, ", last,
                     ", and the segments in between are missing. To start from the checkpoint, "
                     "move all segments away; to start without it, move its files away.");
    }
    if (newest + 1 < first) {
      return refusal("segments ", newest + 1, " to ", first - 1, " are missing between checkpoint ",
                     newest, ", the newest, and the first segment. Put them, or a checkpoint from ",
                     first - 1, " on, back from a backup.");
    }
    for (size_t i = files.checkpoints.size(); i > 0 && replaceable; --i) {
      uint64_t number = files.checkpoints[i - 1];
      if (number + 1 < first) break;
      starts.add(fromCheckpoint(number));
      replaceable = number <= last && !contains(files.emptySegments, number);
    }
    writeSegment = kj::max(last, newest) + 1;
  }

  if (first == 0) {
    if (replaceable) starts.add(fromBase(files.rootCheckpoint, 0));
  } else if (files.checkpoints.size() == 0) {
    if (files.rootCheckpoint) {
      return refusal("segments 0 to ", first - 1,
                     " are missing between root.checkpoint and the first segment. Put them, or a "
                     "checkpoint from ",
                     first - 1, " on, back from a backup.");
    }
    starts.add(fromBase(false, first));
  }
  return RecoveryPlan{starts.releaseAsArray(), last + 1, writeSegment};
}

}  // namespace ledger
