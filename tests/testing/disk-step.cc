// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/disk-step.h"

#include <algorithm>

namespace ledger::testing {

namespace {

bool isDecimal(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "checkpoint.<number>" or "root.checkpoint", perhaps with the suffix of a part.
FileKind checkpointKindOf(std::string_view name, FileKind part, FileKind top, FileKind header) {
  for (std::string_view prefix : {"root.checkpoint", "checkpoint."}) {
    if (!name.starts_with(prefix)) continue;
    const auto rest = name.substr(prefix.size());
    const auto dot = rest.find('.');
    if (dot == rest.npos) return header;
    return rest.substr(dot) == ".016" ? top : part;
  }
  return FileKind::OTHER;
}

const char* nameOf(Operation operation) {
  switch (operation) {
    case Operation::CREATE: return "create";
    case Operation::WRITE: return "write";
    case Operation::TRUNCATE: return "truncate";
    case Operation::SYNC: return "sync";
    case Operation::DATASYNC: return "datasync";
    case Operation::RENAME: return "rename";
    case Operation::REMOVE: return "remove";
  }
  return "?";
}

const char* nameOf(FileKind kind) {
  switch (kind) {
    case FileKind::DIRECTORY: return "directory";
    case FileKind::SEGMENT: return "segment";
    case FileKind::TORN_BACKUP: return "torn backup";
    case FileKind::PART: return "part";
    case FileKind::TOP_PART: return "top part";
    case FileKind::HEADER: return "header";
    case FileKind::TEMPORARY_PART: return "temporary part";
    case FileKind::TEMPORARY_TOP_PART: return "temporary top part";
    case FileKind::TEMPORARY_HEADER: return "temporary header";
    case FileKind::OTHER: return "other file";
  }
  return "?";
}

}  // namespace

FileKind kindOf(std::string_view name) {
  constexpr std::string_view TEMPORARY = "writing-";
  if (isDecimal(name)) return FileKind::SEGMENT;
  if (name.starts_with("torn-")) return FileKind::TORN_BACKUP;
  if (name.starts_with(TEMPORARY)) {
    const auto final = name.substr(TEMPORARY.size());
    return checkpointKindOf(final.substr(0, final.rfind('-')), FileKind::TEMPORARY_PART,
                            FileKind::TEMPORARY_TOP_PART, FileKind::TEMPORARY_HEADER);
  }
  return checkpointKindOf(name, FileKind::PART, FileKind::TOP_PART, FileKind::HEADER);
}

std::string DiskStep::label() const {
  auto text = std::string(nameOf(operation)) + " " + nameOf(kind());
  if (!after.empty()) text += " after " + after;
  return text;
}

}  // namespace ledger::testing
