// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/writer-temporaries.h"

#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/names.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <string_view>

namespace ledger {
namespace {

constexpr std::string_view PREFIX = "writing-";
constexpr kj::WriteMode OVERWRITE = kj::WriteMode::CREATE | kj::WriteMode::MODIFY;

bool isDecimal(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool isCheckpoint(std::string_view name) {
  return isCheckpointName(kj::heapString(name.data(), name.size()));
}

// The checkpoint of which `fileName` is the header or a part; empty if it is neither.
std::string_view checkpointOf(std::string_view fileName) {
  if (isCheckpoint(fileName)) return fileName;
  auto dot = fileName.rfind('.');
  if (dot == std::string_view::npos || fileName.size() - dot != 4) return {};
  auto checkpoint = fileName.substr(0, dot);
  auto digits = fileName.substr(dot + 1);
  if (!isCheckpoint(checkpoint) || !isDecimal(digits)) return {};
  unsigned part = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + (digits[2] - '0');
  return part < CHECKPOINT_PARTS ? checkpoint : std::string_view();
}

// The checkpoint for which `fileName` is a temporary name; empty if it is none.
std::string_view checkpointOfTemporary(std::string_view fileName) {
  if (!fileName.starts_with(PREFIX)) return {};
  auto dash = fileName.rfind('-');
  if (dash < PREFIX.size() || !isDecimal(fileName.substr(dash + 1))) return {};
  return checkpointOf(fileName.substr(PREFIX.size(), dash - PREFIX.size()));
}

}  // namespace

TemporaryFile createTemporary(const kj::Directory& directory, kj::StringPtr finalName) {
  std::random_device random;
  for (unsigned attempt = 0; attempt < 1000; ++attempt) {
    auto name = kj::str("writing-", finalName, "-", random());
    KJ_IF_MAYBE (file, directory.tryOpenFile(kj::Path(name),
                                             kj::WriteMode::CREATE | kj::WriteMode::PRIVATE)) {
      return {kj::mv(name), kj::mv(*file)};
    }
  }
  KJ_FAIL_REQUIRE("no name is free for a checkpoint's temporary file", finalName);
}

kj::Array<kj::String> removeInterruptedCheckpoints(const kj::Directory& directory) {
  kj::Vector<kj::String> temporaries;
  std::set<std::string, std::less<>> interrupted;  // Checkpoints.
  for (auto& name : directory.listNames()) {
    auto checkpoint = checkpointOfTemporary({name.begin(), name.size()});
    if (checkpoint.empty()) continue;
    interrupted.emplace(checkpoint);
    temporaries.add(kj::mv(name));
  }
  kj::Vector<kj::String> removed;
  auto remove = [&](kj::String name) {
    if (directory.tryRemove(kj::Path(name))) removed.add(kj::mv(name));
  };

  for (const auto& checkpoint : interrupted) {
    kj::StringPtr name(checkpoint.data(), checkpoint.size());
    if (directory.tryLstat(kj::Path(name)) != nullptr) continue;
    for (unsigned part = 0; part < CHECKPOINT_PARTS; ++part) remove(checkpointPartName(name, part));
  }
  // Temporary files last, and only when the parts are gone for good: they are what tells that the
  // parts may go.
  if (removed.size() > 0) directory.sync();
  for (auto& name : temporaries) remove(kj::mv(name));
  if (temporaries.size() > 0) directory.sync();
  return removed.releaseAsArray();
}

void removeCheckpoint(const kj::Directory& directory, kj::StringPtr name) {
  // Over an empty file that keeps the name free for it.
  auto temporary = createTemporary(directory, name);
  temporary.file = nullptr;
  directory.transfer(kj::Path(temporary.name), OVERWRITE, kj::Path(name), kj::TransferMode::MOVE);
  directory.sync();
  for (unsigned part = 0; part < CHECKPOINT_PARTS; ++part) {
    directory.tryRemove(kj::Path(checkpointPartName(name, part)));
  }
  directory.sync();
  directory.remove(kj::Path(temporary.name));
  directory.sync();
}

}  // namespace ledger
