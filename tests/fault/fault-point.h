// SPDX-License-Identifier: Apache-2.0
#pragma once
// The places where a process is killed.

#include "tests/testing/disk-step.h"

#include <kj/common.h>

namespace ledger::testing {

enum class FaultPoint {
  SEGMENT_CREATE,
  SEGMENT_WRITE,
  SEGMENT_SYNC,
  SEGMENT_TRUNCATE,
  SEGMENT_REMOVE,
  TORN_BACKUP_WRITE,
  TORN_BACKUP_SYNC,
  DIRECTORY_SYNC,
  CHECKPOINT_CREATE,  // Of a file of a checkpoint, under its temporary name.
  CHECKPOINT_WRITE,
  CHECKPOINT_SYNC,
  CHECKPOINT_RENAME,  // Of a part, to its final name.
  HEADER_RENAME,      // To its final name.
  HEADER_UNRENAME,    // Back to a temporary one: the checkpoint is about to be removed.
  CHECKPOINT_REMOVE,
};

struct NamedFaultPoint {
  FaultPoint point;
  const char* name;
};

constexpr NamedFaultPoint FAULT_POINTS[] = {
    {FaultPoint::SEGMENT_CREATE, "SEGMENT_CREATE"},
    {FaultPoint::SEGMENT_WRITE, "SEGMENT_WRITE"},
    {FaultPoint::SEGMENT_SYNC, "SEGMENT_SYNC"},
    {FaultPoint::SEGMENT_TRUNCATE, "SEGMENT_TRUNCATE"},
    {FaultPoint::SEGMENT_REMOVE, "SEGMENT_REMOVE"},
    {FaultPoint::TORN_BACKUP_WRITE, "TORN_BACKUP_WRITE"},
    {FaultPoint::TORN_BACKUP_SYNC, "TORN_BACKUP_SYNC"},
    {FaultPoint::DIRECTORY_SYNC, "DIRECTORY_SYNC"},
    {FaultPoint::CHECKPOINT_CREATE, "CHECKPOINT_CREATE"},
    {FaultPoint::CHECKPOINT_WRITE, "CHECKPOINT_WRITE"},
    {FaultPoint::CHECKPOINT_SYNC, "CHECKPOINT_SYNC"},
    {FaultPoint::CHECKPOINT_RENAME, "CHECKPOINT_RENAME"},
    {FaultPoint::HEADER_RENAME, "HEADER_RENAME"},
    {FaultPoint::HEADER_UNRENAME, "HEADER_UNRENAME"},
    {FaultPoint::CHECKPOINT_REMOVE, "CHECKPOINT_REMOVE"},
};

// The point that a step is. Every step that a ledger makes is one.
FaultPoint pointOf(const DiskStep& step);

}  // namespace ledger::testing
