// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests of the log: directories in memory, golden directories, whole logs read at once, and
// files that fail on demand.

#include "ledger/wal/reader.h"
#include "ledger/wal/writer.h"

#include <kj/filesystem.h>

#include <string>
#include <vector>

namespace ledger::testing {

inline std::string asString(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

inline kj::ArrayPtr<const kj::byte> asBytes(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

// `size` bytes that differ from page to page and hold no header.
std::string pattern(size_t size, unsigned seed = 1);

kj::Own<const kj::Directory> newDirectory();
void writeFile(const kj::Directory& directory, kj::StringPtr name, const std::string& bytes);
std::string readFile(const kj::ReadableDirectory& directory, kj::StringPtr name);
std::vector<std::string> fileNames(const kj::ReadableDirectory& directory);  // Sorted.

// A directory of the golden data, or null where LEDGERD_GOLDEN does not name it.
kj::Maybe<kj::Own<const kj::ReadableDirectory>> goldenDirectory(kj::StringPtr path);
constexpr const char* NO_GOLDEN = "skipped, because LEDGERD_GOLDEN names no golden data";

struct ReadLog {
  std::vector<std::string> records;
  std::vector<WalPosition> starts;
  std::vector<WalPosition> ends;
  kj::Maybe<WalDamage> damage;
};
ReadLog readLog(const kj::ReadableDirectory& directory);

// Writes a log of these records, each a group of its own, from segment 0 on, and closes it.
void writeLog(const kj::Directory& directory, const std::vector<std::string>& records,
              uint64_t segmentSize = WAL_DEFAULT_SEGMENT_SIZE);

// Which call of a directory's files fails next. Counts down: 0 fails, and again until it is reset.
struct Faults {
  static constexpr int NEVER = -1;
  int writes = NEVER;
  int datasyncs = NEVER;
  int syncs = NEVER;
  int truncates = NEVER;
  int creates = NEVER;
  int removes = NEVER;
  size_t shortWrite = 0;  // Bytes that reach the file before a write fails.
  int datasyncCount = 0;
  int directorySyncCount = 0;
  int writeCount = 0;
};

// Passes everything on to `inner`, except what `faults`, which must outlive it, lets fail.
kj::Own<const kj::Directory> newFaultyDirectory(kj::Own<const kj::Directory> inner, Faults& faults);

}  // namespace ledger::testing
