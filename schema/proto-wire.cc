// SPDX-License-Identifier: Apache-2.0
#include "schema/proto-wire.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <bit>
#include <cstring>

namespace ledger::rpc {
namespace {

constexpr uint64_t MAX_FIELD_NUMBER = (1 << 29) - 1;
constexpr unsigned MAX_VARINT = 10;          // Bytes.
constexpr size_t MAX_NESTED_GROUPS = 10000;  // As in Go.

constexpr uint8_t END_GROUP = 4;  // A tag that is no field of its own.

}  // namespace

kj::Maybe<ProtoField> ProtoReader::next() {
  if (malformed || left.size() == 0) return nullptr;
  malformed = true;  // Until the field was seen to be whole.
  KJ_IF_MAYBE (head, tag()) {
    kj::Maybe<ProtoField> field;
    if (WireType(head->type) != WireType::GROUP) {
      field = content(*head);
    } else if (skipGroup(head->number)) {
      field = ProtoField{head->number, WireType::GROUP};
    }
    malformed = field == nullptr;
    return field;
  }
  return nullptr;
}

kj::Maybe<ProtoReader::Tag> ProtoReader::tag() {
  KJ_IF_MAYBE (value, varint()) {
    const uint64_t number = *value >> 3;
    if (number >= 1 && number <= MAX_FIELD_NUMBER) {
      return Tag{uint32_t(number), uint8_t(*value & 7)};
    }
  }
  return nullptr;
}

kj::Maybe<uint64_t> ProtoReader::varint() {
  uint64_t value = 0;
  for (unsigned i = 0; i < MAX_VARINT && i < left.size(); ++i) {
    const uint64_t byte = left[i];
    if (i == MAX_VARINT - 1 && byte > 1) return nullptr;  // Over 64 bits.
    value |= (byte & 0x7f) << 7 * i;
    if (byte < 0x80) {
      left = left.slice(i + 1, left.size());
      return value;
    }
  }
  return nullptr;
}

kj::Maybe<kj::ArrayPtr<const kj::byte>> ProtoReader::take(uint64_t length) {
  if (length > left.size()) return nullptr;
  auto result = left.slice(0, length);
  left = left.slice(length, left.size());
  return result;
}

kj::Maybe<ProtoField> ProtoReader::content(const Tag& head) {
  ProtoField field{head.number, WireType(head.type)};
  switch (field.type) {
    case WireType::VARINT:
      KJ_IF_MAYBE (value, varint()) {
        field.varint = *value;
        return field;
      }
      return nullptr;
    case WireType::BYTES:
      KJ_IF_MAYBE (length, varint()) {
        KJ_IF_MAYBE (bytes, take(*length)) {
          field.bytes = *bytes;
          return field;
        }
      }
      return nullptr;
    case WireType::FIXED64:
      return take(8).map([&](auto) { return field; });
    case WireType::FIXED32:
      return take(4).map([&](auto) { return field; });
    default:  // The end of a group that was not begun, or a type that does not exist.
      return nullptr;
  }
}

bool ProtoReader::skipGroup(uint32_t number) {
  kj::Vector<uint32_t> open;
  open.add(number);
  while (open.size() > 0) {
    auto head = tag();
    KJ_IF_MAYBE (inner, head) {
      if (inner->type == END_GROUP) {
        if (inner->number != open.back()) return false;
        open.removeLast();
      } else if (WireType(inner->type) == WireType::GROUP) {
        if (open.size() >= MAX_NESTED_GROUPS) return false;
        open.add(inner->number);
      } else if (content(*inner) == nullptr) {
        return false;
      }
    } else {
      return false;
    }
  }
  return true;
}

uint32_t varintSize(uint64_t value) {
  return (std::bit_width(value | 1) + 6) / 7;
}

void ProtoWriter::bytesHead(uint32_t number, uint64_t length) {
  KJ_IREQUIRE(number < 16, "a tag of more than one byte", number);
  reserve(1)[0] = number << 3 | uint8_t(WireType::BYTES);
  rawVarint(length);
}

void ProtoWriter::bytes(uint32_t number, kj::ArrayPtr<const kj::byte> content) {
  bytesHead(number, content.size());
  auto target = reserve(content.size());
  if (content.size() > 0) memcpy(target.begin(), content.begin(), content.size());
}

void ProtoWriter::varint(uint32_t number, uint64_t value) {
  KJ_IREQUIRE(number < 16, "a tag of more than one byte", number);
  reserve(1)[0] = number << 3 | uint8_t(WireType::VARINT);
  rawVarint(value);
}

kj::ArrayPtr<kj::byte> ProtoWriter::reserve(uint64_t length) {
  KJ_ASSERT(length <= left.size(), "a message is longer than its computed size", length,
            left.size());
  auto result = left.slice(0, length);
  left = left.slice(length, left.size());
  return result;
}

void ProtoWriter::rawVarint(uint64_t value) {
  auto target = reserve(varintSize(value));
  for (auto& byte : target) {
    byte = (value & 0x7f) | 0x80;
    value >>= 7;
  }
  target.back() &= 0x7f;
}

}  // namespace ledger::rpc
