// SPDX-License-Identifier: Apache-2.0
#pragma once
// The layout of nodes and payload records in store segments: what a peer that maps a segment reads.
//
// Everything is little-endian and written once: a slot is filled, then published by the node that
// refers to it, and never changes until its last reader is gone and it is used again. Reference
// counts and free lists change, so they live in private memory. A change of this layout is a new
// LAYOUT_VERSION. docs/formats.md has a worked example.

#include "ledger/model.h"

#include <bit>
#include <type_traits>

namespace ledger {

static_assert(std::endian::native == std::endian::little, "segments hold little-endian words");

constexpr uint32_t LAYOUT_VERSION = 1;

// The first bytes of every segment.
struct SegmentHeader {
  uint64_t magic;    // NODE_MAGIC or PAYLOAD_MAGIC.
  uint32_t version;  // LAYOUT_VERSION.
  uint32_t segment;  // Its own number.
  uint64_t size;     // Bytes of the segment.
};
static_assert(sizeof(SegmentHeader) == 24);
constexpr uint64_t NODE_MAGIC = 0x45444f4e5244474c;     // "LGDRNODE"
constexpr uint64_t PAYLOAD_MAGIC = 0x4459415052444c47;  // "GLDRPAYD"

// Names a node by the number of its slot, and says which kind it is, so that a descent knows before
// it reads the slot. Slot numbers are 36 bits: the upper 12 are the segment, the lower 24 the slot
// in it. Slot 0 of a segment holds its header.
class NodeRef {
public:
  static constexpr unsigned SLOT_BITS = 24;
  static constexpr unsigned SEGMENT_BITS = 12;
  static constexpr uint64_t LEAF = uint64_t(1) << 63;

  constexpr NodeRef() = default;  // No node: an empty subtrie.
  static constexpr NodeRef leaf(uint64_t slot) { return NodeRef(slot | LEAF); }
  static constexpr NodeRef interior(uint64_t slot) { return NodeRef(slot); }
  static constexpr NodeRef fromBits(uint64_t bits) { return NodeRef(bits); }

  bool isNull() const { return word == 0; }
  bool isLeaf() const { return word & LEAF; }
  uint64_t slot() const { return word & ~LEAF; }
  uint64_t bits() const { return word; }  // As slots hold it.
  bool operator==(const NodeRef&) const = default;

private:
  explicit constexpr NodeRef(uint64_t bits) : word(bits) {}
  uint64_t word = 0;
};
static_assert(sizeof(NodeRef) == 8 && std::is_trivially_copyable_v<NodeRef>);

// Where a payload record lies: the upper 24 bits are the segment, the lower 40 the offset in bytes,
// a multiple of 8. Zero is no record: offset 0 holds a segment's header.
class PayloadRef {
public:
  static constexpr unsigned OFFSET_BITS = 40;

  constexpr PayloadRef() = default;
  PayloadRef(uint32_t segment, uint64_t offset) : bits(uint64_t(segment) << OFFSET_BITS | offset) {}

  bool isNull() const { return bits == 0; }
  uint32_t segment() const { return bits >> OFFSET_BITS; }
  uint64_t offset() const { return bits & ((uint64_t(1) << OFFSET_BITS) - 1); }
  bool operator==(const PayloadRef&) const = default;

private:
  uint64_t bits = 0;
};
static_assert(sizeof(PayloadRef) == 8 && std::is_trivially_copyable_v<PayloadRef>);

// A node with children, both one level below; a null child is an empty subtrie.
struct InteriorSlot {
  NodeRef left;
  NodeRef right;
  Hash hash;
};

// A register at the highest position where it is alone. The payload is shared by all leaves that
// ever held this register with this value.
struct LeafSlot {
  PayloadRef payload;
  uint64_t meta;  // Bits 0–15: height. Bits 16–55: number of the payload's reference counter.
  Hash hash;

  unsigned height() const { return meta & 0xffff; }
  uint64_t payloadCounter() const { return meta >> 16; }
};

constexpr size_t NODE_SLOT_SIZE = 48;
static_assert(sizeof(InteriorSlot) == NODE_SLOT_SIZE && sizeof(LeafSlot) == NODE_SLOT_SIZE);

// A payload record: this header, the encoded key, the value.
struct PayloadHeader {
  // The upper bits of keyWord.
  static constexpr uint32_t NO_PAYLOAD = uint32_t(1)
                                         << 31;  // A leaf read from a file that has none.
  static constexpr uint32_t HAS_CHAIN = uint32_t(1) << 30;  // chainHash is set.

  uint32_t keyWord;
  uint32_t valueLength;  // Bytes.
  Path path;
  // The leaf's hash at CHAIN_HEIGHT, so that a leaf that a neighbour pushes down need not climb
  // from the bottom again. It depends on path and value alone.
  Hash chainHash;

  uint32_t keyLength() const { return keyWord & ~(NO_PAYLOAD | HAS_CHAIN); }
};
static_assert(sizeof(PayloadHeader) == 72);
static_assert(MAX_KEY_SIZE < PayloadHeader::HAS_CHAIN, "a key's length leaves the flags alone");

// Low enough that next to no leaf stands below it (depth 40: one register in 2^40), high enough
// that the way from it to a usual leaf is short.
constexpr unsigned CHAIN_HEIGHT = 216;

}  // namespace ledger
