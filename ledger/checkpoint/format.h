// SPDX-License-Identifier: Apache-2.0
#pragma once
// The shape of a checkpoint of version 6 on disk, and the names of its files.
//
// A checkpoint is a header file, sixteen parts with the subtries below each 4-bit path prefix, and
// a top part with the nodes above them and the tries. Numbers are big-endian; the last four bytes
// of every file are the CRC-32C of all before. A worked example is in docs/formats.md,
// "Checkpoints".
//
// Source: flow-go's ledger/complete/wal. These values are on the disks of every node: never change.

#include <array>
#include <cstddef>
#include <cstdint>

namespace ledger {

constexpr uint16_t CHECKPOINT_HEADER_MAGIC = 0x2137;
constexpr uint16_t CHECKPOINT_SUBTRIE_MAGIC = 0x2136;
constexpr uint16_t CHECKPOINT_TOP_MAGIC = 0x2135;
constexpr uint16_t CHECKPOINT_VERSION = 6;

constexpr unsigned CHECKPOINT_SUBTRIES = 16;                   // Parts 0 to 15.
constexpr unsigned CHECKPOINT_TOP_PART = CHECKPOINT_SUBTRIES;  // Part 16.
constexpr unsigned CHECKPOINT_PARTS = CHECKPOINT_SUBTRIES + 1;

// The highest node of a subtrie part: the root of a subtrie, four levels below a trie's root.
constexpr unsigned CHECKPOINT_SUBTRIE_HEIGHT = 252;

// Magic and version, at the start of every file; the checksum, at the end of every file.
constexpr uint64_t CHECKPOINT_PREFIX_SIZE = 4;
constexpr uint64_t CHECKPOINT_CRC_SIZE = 4;

// Header file: prefix, u16 count of subtries, 17 x u32 checksums of the parts, checksum.
constexpr uint64_t CHECKPOINT_HEADER_SIZE = 78;

// Subtrie part: prefix, nodes, u64 count of nodes, checksum.
constexpr uint64_t CHECKPOINT_SUBTRIE_FOOTER = 8 + CHECKPOINT_CRC_SIZE;
// Top part: prefix, u64 count of the subtries' nodes, nodes, tries, u64 count of nodes of this
// file, u16 count of tries, checksum.
constexpr uint64_t CHECKPOINT_TOP_PREFIX = CHECKPOINT_PREFIX_SIZE + 8;
constexpr uint64_t CHECKPOINT_TOP_FOOTER = 8 + 2 + CHECKPOINT_CRC_SIZE;

enum class CheckpointNodeType : uint8_t { LEAF = 0, INTERIOR = 1 };

// Both kinds of node: type (1), height (2), hash (32).
constexpr uint64_t CHECKPOINT_NODE_PREFIX = 35;
// Leaf: path (32), u32 length of the payload, payload (version 1, without prefix).
constexpr uint64_t CHECKPOINT_LEAF_SIZE = CHECKPOINT_NODE_PREFIX + 32 + 4;
// Interior node: u64 indices of the left and right child; 0 is no child.
constexpr uint64_t CHECKPOINT_INTERIOR_SIZE = CHECKPOINT_NODE_PREFIX + 8 + 8;
// Trie: u64 index of the root (0: the empty trie), u64 registers, u64 bytes, root hash (32).
constexpr uint64_t CHECKPOINT_TRIE_SIZE = 8 + 8 + 8 + 32;

// The root hash of the empty trie: the default hash of height 256.
constexpr std::array<uint8_t, 32> EMPTY_TRIE_ROOT = {
    0x56, 0x8f, 0x4e, 0xc7, 0x40, 0xfe, 0x3b, 0x5d, 0xe8, 0x80, 0x34, 0xcb, 0x7b, 0x1f, 0xbd, 0xdb,
    0x41, 0x54, 0x8b, 0x06, 0x8f, 0x31, 0xae, 0xbc, 0x8a, 0xe9, 0x18, 0x9e, 0x42, 0x9c, 0x57, 0x49};

}  // namespace ledger
