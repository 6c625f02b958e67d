// SPDX-License-Identifier: Apache-2.0
#pragma once
// A checkpoint's files, opened, and what their beginnings and ends say: all that is known of a
// checkpoint before its nodes are read.
//
// Checked: that all 18 files are there, the header's magic, version, length and checksum, that each
// part ends with the checksum that the header lists, and counts against the sizes of the files, so
// that memory may be reserved for them. The bytes in between may still be damaged.

#include "ledger/checkpoint/format.h"
#include "ledger/model.h"

#include <kj/array.h>
#include <kj/filesystem.h>
#include <kj/string.h>

#include <array>
#include <cstdint>

namespace ledger {

struct CheckpointPart {
  kj::String name;
  kj::Own<const kj::ReadableFile> file;
  uint64_t size = 0;   // Bytes.
  uint32_t crc = 0;    // As the header lists it.
  uint64_t nodes = 0;  // As the footer says.
};

struct CheckpointLayout {
  std::array<CheckpointPart, CHECKPOINT_PARTS> parts;
  uint64_t tries = 0;        // At least 1.
  uint64_t headerBytes = 0;  // Of the header file.

  uint64_t bytes() const;  // Of all 18 files.
  uint64_t nodes() const;  // Of all parts.
};

// Throws at any fault, with file, what was expected and what was found; and if a file cannot be
// read (read-fault.h).
CheckpointLayout openCheckpoint(const kj::ReadableDirectory& directory, kj::StringPtr name);

// One trie, as the top part has it.
struct TrieRecord {
  uint64_t root;  // Index over all parts; 0 is the empty trie.
  uint64_t registerCount;
  uint64_t registerSize;
  RootHash rootHash;

  // `bytes` must be CHECKPOINT_TRIE_SIZE long.
  static TrieRecord decode(kj::ArrayPtr<const kj::byte> bytes);
};

// The checkpoint's tries, oldest first, from the end of the top part. Nothing about them is checked
// but that the bytes are there: readCheckpoint() does.
kj::Array<TrieRecord> readTrieRecords(const CheckpointLayout& checkpoint);

}  // namespace ledger
