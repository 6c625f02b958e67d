// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/fault-point.h"

#include <kj/debug.h>

namespace ledger::testing {

FaultPoint pointOf(const DiskStep& step) {
  const auto kind = step.kind();
  switch (kind) {
    case FileKind::DIRECTORY: return FaultPoint::DIRECTORY_SYNC;
    case FileKind::SEGMENT:
      switch (step.operation) {
        case Operation::CREATE: return FaultPoint::SEGMENT_CREATE;
        case Operation::WRITE: return FaultPoint::SEGMENT_WRITE;
        case Operation::SYNC:
        case Operation::DATASYNC: return FaultPoint::SEGMENT_SYNC;
        case Operation::TRUNCATE: return FaultPoint::SEGMENT_TRUNCATE;
        case Operation::REMOVE: return FaultPoint::SEGMENT_REMOVE;
        case Operation::RENAME: break;
      }
      break;
    case FileKind::TORN_BACKUP:
      return step.isSync() ? FaultPoint::TORN_BACKUP_SYNC : FaultPoint::TORN_BACKUP_WRITE;
    case FileKind::OTHER: break;
    default:
      switch (step.operation) {
        case Operation::CREATE: return FaultPoint::CHECKPOINT_CREATE;
        case Operation::WRITE: return FaultPoint::CHECKPOINT_WRITE;
        case Operation::SYNC:
        case Operation::DATASYNC: return FaultPoint::CHECKPOINT_SYNC;
        case Operation::REMOVE: return FaultPoint::CHECKPOINT_REMOVE;
        case Operation::RENAME:
          if (kind == FileKind::HEADER) return FaultPoint::HEADER_RENAME;
          if (kind == FileKind::TEMPORARY_HEADER) return FaultPoint::HEADER_UNRENAME;
          return FaultPoint::CHECKPOINT_RENAME;
        case Operation::TRUNCATE: break;
      }
  }
  KJ_FAIL_REQUIRE("a step that has no fault point", step.label().c_str());
}

}  // namespace ledger::testing
