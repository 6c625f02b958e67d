// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a ledger does to its directory, step by step, as the fault tests name it.

#include <cstdint>
#include <string>
#include <string_view>

namespace ledger::testing {

enum class Operation : uint8_t { CREATE, WRITE, TRUNCATE, SYNC, DATASYNC, RENAME, REMOVE };

enum class FileKind : uint8_t {
  DIRECTORY,  // The ledger's own.
  SEGMENT,
  TORN_BACKUP,
  PART,  // Of a checkpoint: one of subtries.
  TOP_PART,
  HEADER,
  TEMPORARY_PART,  // The same three while they are being written.
  TEMPORARY_TOP_PART,
  TEMPORARY_HEADER,
  OTHER,
};

// By the name of a file in a ledger's directory.
FileKind kindOf(std::string_view name);

struct DiskStep {
  int number;  // From 0.
  Operation operation;
  std::string name;   // Empty: the directory. Of a rename, the new name.
  std::string after;  // Of a sync of the directory: the label of the last change of names before.

  FileKind kind() const { return name.empty() ? FileKind::DIRECTORY : kindOf(name); }
  bool isSync() const { return operation == Operation::SYNC || operation == Operation::DATASYNC; }

  // "datasync segment", "sync directory after rename header".
  std::string label() const;
};

}  // namespace ledger::testing
