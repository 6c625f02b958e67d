// SPDX-License-Identifier: Apache-2.0
#pragma once
// Protocol buffers' wire format: a message is a row of fields, each with a number and a wire type.
//
// A reader walks over a message where it lies and allocates nothing but for nested groups. It takes
// what Go's decoder takes and refuses the rest, so that nothing is malformed here and not there. A
// field of an unknown number, or of another wire type than its number should have, is for the
// caller to pass over.
//
// Source: protobuf.dev, "Encoding".

#include <kj/array.h>
#include <kj/common.h>

#include <cstdint>

namespace ledger::rpc {

enum class WireType : uint8_t {
  VARINT = 0,
  FIXED64 = 1,
  BYTES = 2,  // Also strings and messages.
  GROUP = 3,
  FIXED32 = 5,
};

struct ProtoField {
  uint32_t number;
  WireType type;
  uint64_t varint = 0;                   // Of a VARINT.
  kj::ArrayPtr<const kj::byte> bytes{};  // Of BYTES.

  bool isBytes(uint32_t wanted) const { return number == wanted && type == WireType::BYTES; }
  bool isVarint(uint32_t wanted) const { return number == wanted && type == WireType::VARINT; }
};

// Thread: one.
class ProtoReader final {
public:
  explicit ProtoReader(kj::ArrayPtr<const kj::byte> message) : left(message) {}

  // The next field. Null: the message has ended, or it is malformed, which ok() tells.
  kj::Maybe<ProtoField> next();

  bool ok() const { return !malformed; }

private:
  struct Tag {
    uint32_t number;
    uint8_t type;  // Any of the eight.
  };

  kj::Maybe<Tag> tag();
  kj::Maybe<uint64_t> varint();
  kj::Maybe<kj::ArrayPtr<const kj::byte>> take(uint64_t length);  // Null: so much is not there.
  kj::Maybe<ProtoField> content(const Tag& head);                 // Of any but a group.
  bool skipGroup(uint32_t number);

  kj::ArrayPtr<const kj::byte> left;
  bool malformed = false;
};

// --- Writing --------------------------------------------------------------------------------

uint32_t varintSize(uint64_t value);

// Bytes of a BYTES field: its tag, its length, and `length` bytes. Numbers up to 15 only.
inline uint64_t bytesFieldSize(uint64_t length) {
  return 1 + varintSize(length) + length;
}

// Fills memory whose size was computed before; writing past its end is our bug and throws.
// Fields have numbers up to 15.
class ProtoWriter final {
public:
  explicit ProtoWriter(kj::ArrayPtr<kj::byte> out) : left(out) {}

  // A field whose `length` bytes follow.
  void bytesHead(uint32_t number, uint64_t length);
  void bytes(uint32_t number, kj::ArrayPtr<const kj::byte> content);
  void varint(uint32_t number, uint64_t value);

  // The next `length` bytes, for the caller to fill.
  kj::ArrayPtr<kj::byte> reserve(uint64_t length);

  uint64_t remaining() const { return left.size(); }

private:
  void rawVarint(uint64_t value);

  kj::ArrayPtr<kj::byte> left;
};

}  // namespace ledger::rpc
