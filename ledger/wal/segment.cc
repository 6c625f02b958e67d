// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/segment.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>

#include <fcntl.h>

namespace ledger {
namespace {

// A name that Go's strconv.Atoi takes for a number: digits, perhaps after a sign.
bool looksLikeNumber(kj::StringPtr name) {
  auto digits = name.startsWith("-") || name.startsWith("+") ? name.slice(1) : name;
  if (digits.size() == 0) return false;
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Null: not spelt as walSegmentName() spells it, or beyond 18 digits.
kj::Maybe<uint64_t> parseSegmentName(kj::StringPtr name) {
  if (name.size() < 8 || name.size() > 18) return nullptr;
  uint64_t number = 0;
  for (char c : name) {
    if (c < '0' || c > '9') return nullptr;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  if (walSegmentName(number) != name) return nullptr;
  return number;
}

}  // namespace

kj::String walSegmentName(uint64_t number) {
  auto digits = kj::str(number);
  if (digits.size() >= 8) return digits;
  auto zeros = kj::heapString(8 - digits.size());
  std::fill(zeros.begin(), zeros.end(), '0');
  return kj::str(zeros, digits);
}

kj::Array<WalSegment> listWalSegments(const kj::ReadableDirectory& directory) {
  kj::Vector<WalSegment> segments;
  for (auto& name : directory.listNames()) {
    if (!looksLikeNumber(name)) continue;
    KJ_IF_MAYBE (number, parseSegmentName(name)) {
      segments.add(WalSegment{*number, openWalSegment(directory, *number)->stat().size});
    } else {
      KJ_FAIL_REQUIRE(
          "a file whose name is a number is not a log segment as ledgers name them: eight digits "
          "or more; rename it, or move it out of the ledger's directory",
          name);
    }
  }
  std::sort(segments.begin(), segments.end(),
            [](const WalSegment& a, const WalSegment& b) { return a.number < b.number; });
  for (size_t i = 1; i < segments.size(); ++i) {
    KJ_REQUIRE(segments[i].number == segments[i - 1].number + 1,
               "the log's segments are not consecutive: some are missing between these two; put "
               "them back from a backup",
               walSegmentName(segments[i - 1].number), walSegmentName(segments[i].number));
  }
  return segments.releaseAsArray();
}

kj::Own<const kj::ReadableFile> openWalSegment(const kj::ReadableDirectory& directory,
                                               uint64_t number) {
  auto name = walSegmentName(number);
  KJ_IF_MAYBE (file, directory.tryOpenFile(kj::Path(name))) {
    return kj::mv(*file);
  }
  KJ_FAIL_REQUIRE("cannot open a log segment: it is not there", name);
}

kj::Own<const kj::File> createWalSegment(const kj::Directory& directory, uint64_t number) {
  auto name = walSegmentName(number);
  kj::Path path(name);
  kj::Maybe<kj::Own<const kj::File>> created;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 created = directory.tryOpenFile(path, kj::WriteMode::CREATE);
               })) {
    // It may have been made all the same, and the name must be free for another attempt.
    KJ_IF_MAYBE (left, directory.tryLstat(path)) {
      if (left->size == 0) directory.remove(path);
    }
    kj::throwFatalException(kj::mv(*exception));
  }
  KJ_IF_MAYBE (file, created) {
    return kj::mv(*file);
  }
  KJ_FAIL_REQUIRE("cannot create a log segment: it exists", name);
}

void syncWalEnd(const kj::ReadableDirectory& directory) {
  auto segments = listWalSegments(directory);
  for (size_t i = segments.size(); i > 0; --i) {
    auto file = openWalSegment(directory, segments[i - 1].number);
    file->sync();
    // Linux forgets a failed write-back once it was reported: what is cached may never have reached
    // the disk. Only a hint, but what it drops is read from the disk.
    KJ_IF_MAYBE (fd, file->getFd()) {
      posix_fadvise(*fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    if (segments[i - 1].size > 0) break;
  }
}

size_t removeWalSegments(const kj::Directory& directory, uint64_t last) {
  size_t removed = 0;
  for (auto& segment : listWalSegments(directory)) {
    if (segment.number > last) break;
    directory.remove(kj::Path(walSegmentName(segment.number)));
    directory.sync();
    ++removed;
  }
  return removed;
}

}  // namespace ledger
