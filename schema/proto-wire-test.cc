// SPDX-License-Identifier: Apache-2.0
#include "schema/proto-wire.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>

namespace ledger::rpc {
namespace {

using Bytes = kj::Array<kj::byte>;

Bytes bytesOf(std::initializer_list<int> values) {
  auto result = kj::heapArrayBuilder<kj::byte>(values.size());
  for (int value : values) result.add(kj::byte(value));
  return result.finish();
}

Bytes join(kj::ArrayPtr<const kj::byte> first, kj::ArrayPtr<const kj::byte> second) {
  kj::Vector<kj::byte> result;
  result.addAll(first);
  result.addAll(second);
  return result.releaseAsArray();
}

// Reads to the end. Null: it is malformed.
kj::Maybe<kj::Vector<ProtoField>> fieldsOf(kj::ArrayPtr<const kj::byte> message) {
  ProtoReader reader(message);
  kj::Vector<ProtoField> fields;
  for (;;) {
    auto next = reader.next();
    KJ_IF_MAYBE (field, next) {
      fields.add(*field);
    } else {
      break;
    }
  }
  EXPECT_TRUE(reader.next() == nullptr) << "a reader that has ended has a field again";
  if (!reader.ok()) return nullptr;
  return kj::mv(fields);
}

bool accepted(kj::ArrayPtr<const kj::byte> message) { return fieldsOf(message) != nullptr; }

// One field of each type, the group with nested ones in it.
Bytes sample() {
  return bytesOf({0x08, 0xac, 0x02,                                // 1: 300
                  0x12, 0x03, 'a', 'b', 'c',                       // 2: "abc"
                  0x19, 1, 2, 3, 4, 5, 6, 7, 8,                    // 3: fixed64
                  0x25, 1, 2, 3, 4,                                // 4: fixed32
                  0x2b, 0x08, 0x01, 0x33, 0x12, 0x01, 'x', 0x34,   // 5: a group with a group
                  0x2c,                                            //
                  0xf8, 0xff, 0xff, 0xff, 0x0f, 0x00});            // 2^29 - 1: 0
}

// Pins the format: field numbers, wire types and lengths as the encoding's specification has them.
TEST(ProtoWire, ReadsEveryWireType) {
  auto message = sample();
  auto fields = fieldsOf(message);
  ASSERT_TRUE(fields != nullptr);
  auto& found = KJ_ASSERT_NONNULL(fields);
  ASSERT_EQ(found.size(), 6u);
  EXPECT_TRUE(found[0].isVarint(1));
  EXPECT_EQ(found[0].varint, 300u);
  EXPECT_TRUE(found[1].isBytes(2));
  EXPECT_TRUE(found[1].bytes == "abc"_kj.asBytes());
  EXPECT_TRUE(found[2].type == WireType::FIXED64 && found[2].number == 3);
  EXPECT_TRUE(found[3].type == WireType::FIXED32 && found[3].number == 4);
  EXPECT_TRUE(found[4].type == WireType::GROUP && found[4].number == 5);
  EXPECT_TRUE(found[5].isVarint((1 << 29) - 1));
}

TEST(ProtoWire, TakesAMessageOfNothing) {
  EXPECT_TRUE(accepted(nullptr));
}

// A cut between two fields is a shorter message; any other must be seen, and nothing read past it.
TEST(ProtoWire, RefusesEveryCutInsideAField) {
  auto whole = sample();
  const size_t ends[] = {0, 3, 8, 17, 22, 31};
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    SCOPED_TRACE(cut);
    // Memory of its own, so that a sanitizer sees a read past it.
    auto part = kj::heapArray(whole.slice(0, cut));
    const bool between = std::find(std::begin(ends), std::end(ends), cut) != std::end(ends);
    EXPECT_EQ(accepted(part), between);
  }
}

TEST(ProtoWire, RefusesLengthsPastTheEnd) {
  EXPECT_FALSE(accepted(bytesOf({0x0a, 0x01})));
  EXPECT_FALSE(accepted(bytesOf({0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 'a'})));
  // 2^64 - 1: would wrap if it were added to a position.
  EXPECT_FALSE(accepted(
      bytesOf({0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'})));
}

TEST(ProtoWire, KnowsTheLongestVarint) {
  auto most =
      bytesOf({0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01});
  auto fields = fieldsOf(most);
  ASSERT_TRUE(fields != nullptr);
  EXPECT_EQ(KJ_ASSERT_NONNULL(fields)[0].varint, UINT64_MAX);
  most.back() = 0x02;  // Bit 64.
  EXPECT_FALSE(accepted(most));
  most.back() = 0x81;  // An eleventh byte.
  EXPECT_FALSE(accepted(join(most, bytesOf({0x00}))));
  // Longer than it has to be, which decoders take.
  EXPECT_TRUE(accepted(bytesOf({0x08, 0x80, 0x80, 0x00})));
}

TEST(ProtoWire, RefusesTagsThatNoFieldHas) {
  EXPECT_FALSE(accepted(bytesOf({0x00, 0x00}))) << "field 0";
  EXPECT_FALSE(accepted(bytesOf({0x80, 0x80, 0x80, 0x80, 0x10, 0x00}))) << "field 2^29";
  EXPECT_FALSE(accepted(bytesOf({0x0e}))) << "wire type 6";
  EXPECT_FALSE(accepted(bytesOf({0x0f}))) << "wire type 7";
}

TEST(ProtoWire, RefusesGroupsThatDoNotMatch) {
  EXPECT_TRUE(accepted(bytesOf({0x0b, 0x0c})));
  EXPECT_FALSE(accepted(bytesOf({0x0b}))) << "never ended";
  EXPECT_FALSE(accepted(bytesOf({0x0c}))) << "never begun";
  EXPECT_FALSE(accepted(bytesOf({0x0b, 0x14}))) << "ended by another number";
  EXPECT_FALSE(accepted(bytesOf({0x0b, 0x13, 0x0c, 0x14}))) << "crossed";
  EXPECT_FALSE(accepted(bytesOf({0x0b, 0x0f, 0x0c}))) << "wire type 7 inside";
}

// Nesting costs the sender a byte each: it must not cost a stack frame here.
TEST(ProtoWire, BoundsNestedGroups) {
  auto nested = [](size_t depth) {
    auto message = kj::heapArray<kj::byte>(2 * depth);
    memset(message.begin(), 0x0b, depth);
    memset(message.begin() + depth, 0x0c, depth);
    return message;
  };
  EXPECT_TRUE(accepted(nested(10'000)));
  EXPECT_FALSE(accepted(nested(10'001)));
  EXPECT_FALSE(accepted(nested(10'000'000)));
}

// Would catch a size that differs from what is written: a reply would be cut or padded.
TEST(ProtoWire, WritesWhatItReads) {
  for (uint64_t number : {uint64_t(0), uint64_t(127), uint64_t(128), uint64_t(16383),
                          uint64_t(16384), uint64_t(1) << 32, UINT64_MAX}) {
    SCOPED_TRACE(number);
    auto out = kj::heapArray<kj::byte>(1 + varintSize(number));
    ProtoWriter writer(out);
    writer.varint(15, number);
    EXPECT_EQ(writer.remaining(), 0u);
    auto fields = fieldsOf(out);
    ASSERT_TRUE(fields != nullptr);
    EXPECT_TRUE(KJ_ASSERT_NONNULL(fields)[0].isVarint(15));
    EXPECT_EQ(KJ_ASSERT_NONNULL(fields)[0].varint, number);
  }
  for (size_t length : {0, 1, 127, 128, 20'000}) {
    SCOPED_TRACE(length);
    auto content = kj::heapArray<kj::byte>(length);
    memset(content.begin(), 'x', length);
    auto out = kj::heapArray<kj::byte>(bytesFieldSize(length));
    ProtoWriter writer(out);
    writer.bytes(1, content);
    EXPECT_EQ(writer.remaining(), 0u);
    auto fields = fieldsOf(out);
    ASSERT_TRUE(fields != nullptr);
    EXPECT_TRUE(KJ_ASSERT_NONNULL(fields)[0].isBytes(1));
    EXPECT_TRUE(KJ_ASSERT_NONNULL(fields)[0].bytes == content.asPtr());
  }
}

TEST(ProtoWire, DoesNotWritePastItsMemory) {
  auto out = kj::heapArray<kj::byte>(4);
  ProtoWriter writer(out);
  EXPECT_ANY_THROW(writer.bytes(1, "abc"_kj.asBytes()));
}

}  // namespace
}  // namespace ledger::rpc
