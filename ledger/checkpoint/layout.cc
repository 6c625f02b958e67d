// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/layout.h"

#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/part-stream.h"
#include "ledger/read-fault.h"
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

namespace ledger {
namespace {

kj::Own<const kj::ReadableFile> open(const kj::ReadableDirectory& directory, kj::StringPtr name) {
  auto opened = readOrBlameDisk(name, 0, [&]() { return directory.tryOpenFile(kj::Path(name)); });
  KJ_IF_MAYBE (file, opened) {
    return kj::mv(*file);
  }
  KJ_FAIL_REQUIRE("a checkpoint file is missing", name);
}

uint64_t sizeOf(const kj::ReadableFile& file, kj::StringPtr name) {
  return readOrBlameDisk(name, 0, [&]() { return file.stat().size; });
}

void readHeader(const kj::ReadableDirectory& directory, kj::StringPtr name,
                CheckpointLayout& checkpoint) {
  auto file = open(directory, name);
  uint64_t size = sizeOf(*file, name);
  auto prefix = readExactly(*file, name, 0, CHECKPOINT_PREFIX_SIZE);
  uint16_t magic = readU16(prefix.slice(0, 2));
  uint16_t version = readU16(prefix.slice(2, 4));
  if (magic != CHECKPOINT_HEADER_MAGIC) {
    auto found = kj::hex(magic);
    KJ_FAIL_REQUIRE("wrong magic bytes: not a checkpoint's header", name, found);
  }
  if (version >= 1 && version <= 5) {
    KJ_FAIL_REQUIRE(
        "a checkpoint of this version is not supported, version 6 is; convert it with flow-go's "
        "tools",
        name, version);
  }
  KJ_REQUIRE(version == CHECKPOINT_VERSION, "wrong version of a checkpoint's header", name,
             CHECKPOINT_VERSION, version);
  KJ_REQUIRE(size == CHECKPOINT_HEADER_SIZE, "a checkpoint's header has the wrong length", name,
             CHECKPOINT_HEADER_SIZE, size);

  auto bytes = readExactly(*file, name, 0, CHECKPOINT_HEADER_SIZE);
  size_t body = CHECKPOINT_HEADER_SIZE - CHECKPOINT_CRC_SIZE;
  uint32_t stored = readU32(bytes.slice(body, bytes.size()));
  uint32_t actual = crc32c(bytes.slice(0, body));
  if (stored != actual) {
    auto found = kj::hex(stored), computed = kj::hex(actual);
    KJ_FAIL_REQUIRE("invalid checksum in checkpoint header", name, found, computed);
  }
  uint16_t subtries = readU16(bytes.slice(4, 6));
  KJ_REQUIRE(subtries == CHECKPOINT_SUBTRIES, "wrong number of subtries in checkpoint header", name,
             CHECKPOINT_SUBTRIES, subtries);
  for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
    checkpoint.parts[i].crc = readU32(bytes.slice(6 + 4 * i, 10 + 4 * i));
  }
  checkpoint.headerBytes = size;
}

void openParts(const kj::ReadableDirectory& directory, kj::StringPtr name,
               CheckpointLayout& checkpoint) {
  for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
    auto& part = checkpoint.parts[i];
    part.name = checkpointPartName(name, i);
    part.file = open(directory, part.name);
    part.size = sizeOf(*part.file, part.name);
  }
}

kj::Array<kj::byte> readFooter(const CheckpointPart& part, uint64_t prefixSize,
                               uint64_t footerSize) {
  kj::StringPtr name = part.name;
  uint64_t least = prefixSize + footerSize;
  KJ_REQUIRE(part.size >= least, "a checkpoint file is too short", name, least, part.size);
  auto footer = readExactly(*part.file, part.name, part.size - footerSize, footerSize);
  uint32_t crc = readU32(footer.slice(footerSize - CHECKPOINT_CRC_SIZE, footerSize));
  if (crc != part.crc) {
    uint64_t offset = part.size - CHECKPOINT_CRC_SIZE;
    auto listed = kj::hex(part.crc), found = kj::hex(crc);
    KJ_FAIL_REQUIRE("a checkpoint file does not end with the checksum that the header lists", name,
                    offset, listed, found);
  }
  return footer;
}

void requireRoom(const CheckpointPart& part, uint64_t count, uint64_t eachAtLeast, uint64_t room,
                 kj::StringPtr what) {
  KJ_REQUIRE(count <= room / eachAtLeast, "a checkpoint file is too short for what its end says",
             part.name, part.size, what, count);
}

// Counts come before the checksums are known, so they are held to the files' sizes.
void readFooters(CheckpointLayout& checkpoint) {
  for (unsigned i = 0; i < CHECKPOINT_SUBTRIES; ++i) {
    auto& part = checkpoint.parts[i];
    auto footer = readFooter(part, CHECKPOINT_PREFIX_SIZE, CHECKPOINT_SUBTRIE_FOOTER);
    part.nodes = readU64(footer.slice(0, 8));
    requireRoom(part, part.nodes, CHECKPOINT_INTERIOR_SIZE,
                part.size - CHECKPOINT_PREFIX_SIZE - CHECKPOINT_SUBTRIE_FOOTER, "nodes");
  }
  auto& top = checkpoint.parts[CHECKPOINT_TOP_PART];
  auto footer = readFooter(top, CHECKPOINT_TOP_PREFIX, CHECKPOINT_TOP_FOOTER);
  top.nodes = readU64(footer.slice(0, 8));
  checkpoint.tries = readU16(footer.slice(8, 10));
  uint64_t body = top.size - CHECKPOINT_TOP_PREFIX - CHECKPOINT_TOP_FOOTER;
  requireRoom(top, checkpoint.tries, CHECKPOINT_TRIE_SIZE, body, "tries");
  requireRoom(top, top.nodes, CHECKPOINT_INTERIOR_SIZE,
              body - checkpoint.tries * CHECKPOINT_TRIE_SIZE, "nodes");
  KJ_REQUIRE(checkpoint.tries > 0, "a checkpoint without tries", top.name);
}

}  // namespace

uint64_t CheckpointLayout::bytes() const {
  uint64_t sum = headerBytes;
  for (auto& part : parts) sum += part.size;
  return sum;
}

uint64_t CheckpointLayout::nodes() const {
  uint64_t sum = 0;
  for (auto& part : parts) sum += part.nodes;
  return sum;
}

CheckpointLayout openCheckpoint(const kj::ReadableDirectory& directory, kj::StringPtr name) {
  CheckpointLayout checkpoint;
  readHeader(directory, name, checkpoint);
  openParts(directory, name, checkpoint);
  readFooters(checkpoint);
  return checkpoint;
}

TrieRecord TrieRecord::decode(kj::ArrayPtr<const kj::byte> bytes) {
  KJ_IREQUIRE(bytes.size() == CHECKPOINT_TRIE_SIZE);
  return {.root = readU64(bytes.slice(0, 8)),
          .registerCount = readU64(bytes.slice(8, 16)),
          .registerSize = readU64(bytes.slice(16, 24)),
          .rootHash = RootHash::copyOf(bytes.slice(24, CHECKPOINT_TRIE_SIZE))};
}

kj::Array<TrieRecord> readTrieRecords(const CheckpointLayout& checkpoint) {
  auto& top = checkpoint.parts[CHECKPOINT_TOP_PART];
  uint64_t length = checkpoint.tries * CHECKPOINT_TRIE_SIZE;
  uint64_t offset = top.size - CHECKPOINT_TOP_FOOTER - length;
  auto bytes = readExactly(*top.file, top.name, offset, length);
  auto records = kj::heapArrayBuilder<TrieRecord>(checkpoint.tries);
  for (size_t at = 0; at < length; at += CHECKPOINT_TRIE_SIZE) {
    records.add(TrieRecord::decode(bytes.slice(at, at + CHECKPOINT_TRIE_SIZE)));
  }
  return records.finish();
}

}  // namespace ledger
