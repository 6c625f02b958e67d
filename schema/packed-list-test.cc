// SPDX-License-Identifier: Apache-2.0
#include "schema/packed-list.h"

#include <gtest/gtest.h>
#include <kj/vector.h>

namespace ledger::rpc {
namespace {

constexpr uint64_t NO_LIMIT = UINT32_MAX;

kj::Array<kj::byte> pack(kj::ArrayPtr<const Bytes> items) {
  auto out = kj::heapArray<kj::byte>(packedListSize(items));
  writePackedList(items, out);
  return out;
}

bool refused(Bytes payload, uint64_t limit = NO_LIMIT) {
  return PackedList::parse(payload, limit).is<BadPayload>();
}

kj::Array<kj::byte> sample() {
  const Bytes items[] = {"ab"_kj.asBytes(), ""_kj.asBytes(), "cde"_kj.asBytes()};
  return pack(items);
}

// Pins the format: a client in another language is written from the schema's text alone.
TEST(PackedList, HasTheDocumentedBytes) {
  const kj::byte expected[] = {3, 0, 0, 0, 0, 0, 0, 0,   2,   0,   0,   0,  0,
                               0, 0, 0, 3, 0, 0, 0, 'a', 'b', 'c', 'd', 'e'};
  EXPECT_TRUE(sample().asPtr() == kj::arrayPtr(expected, sizeof(expected)));
  const kj::byte none[8] = {};
  EXPECT_TRUE(pack(nullptr).asPtr() == kj::arrayPtr(none, 8));
}

// Would catch an item lost, moved or merged with its neighbour.
TEST(PackedList, GivesBackWhatWasPacked) {
  for (size_t count = 0; count < 20; ++count) {
    SCOPED_TRACE(count);
    kj::Vector<kj::Array<kj::byte>> owned;
    kj::Vector<Bytes> items;
    for (size_t index = 0; index < count; ++index) {
      auto item = kj::heapArray<kj::byte>((index * 7) % 5);
      for (auto& each : item) each = kj::byte(index);
      items.add(owned.add(kj::mv(item)));
    }
    auto packed = pack(items);
    auto parsed = PackedList::parse(packed, NO_LIMIT);
    ASSERT_TRUE(parsed.is<PackedList>());
    auto views = parsed.get<PackedList>().items();
    ASSERT_EQ(views.size(), count);
    EXPECT_EQ(parsed.get<PackedList>().viewBytes(), count * sizeof(Bytes));
    for (size_t index = 0; index < count; ++index) EXPECT_TRUE(views[index] == items[index]);
  }
}

// Every cut and every surplus byte contradicts the lengths: none may be read past or ignored.
TEST(PackedList, RefusesEveryOtherLength) {
  auto whole = sample();
  for (size_t cut = 0; cut < whole.size(); ++cut) {
    SCOPED_TRACE(cut);
    // A heap copy of exactly that length, so that reading past it shows under asan.
    auto torn = kj::heapArray<kj::byte>(whole.slice(0, cut));
    EXPECT_TRUE(refused(torn));
  }
  auto longer = kj::heapArray<kj::byte>(whole.size() + 1);
  memcpy(longer.begin(), whole.begin(), whole.size());
  longer[whole.size()] = 0;
  EXPECT_TRUE(refused(longer));
}

// A flipped byte of the header or the lengths never gives views outside the payload.
TEST(PackedList, NeverPointsOutsideThePayload) {
  auto whole = sample();
  for (size_t at = 0; at < 20; ++at) {
    for (unsigned value = 0; value < 256; ++value) {
      auto damaged = kj::heapArray<kj::byte>(whole.asPtr());
      damaged[at] = kj::byte(value);
      auto parsed = PackedList::parse(damaged, NO_LIMIT);
      if (!parsed.is<PackedList>()) continue;
      for (auto& item : parsed.get<PackedList>().items()) {
        EXPECT_GE(item.begin(), damaged.begin());
        EXPECT_LE(item.end(), damaged.end());
      }
    }
  }
}

// Counts and lengths near 2^32 must not wrap: 0x40000000 * 4 is 0 in 32 bits.
TEST(PackedList, RefusesCountsThatWouldOverflow) {
  for (uint32_t count : {0x40000000u, 0x40000001u, 0xffffffffu, 0x80000000u}) {
    kj::byte payload[16] = {};
    memcpy(payload, &count, 4);
    EXPECT_TRUE(refused(kj::arrayPtr(payload, 16))) << count;
  }
  // Two lengths whose sum is the rest modulo 2^32.
  kj::byte payload[16] = {2};
  const uint32_t lengths[] = {0xffffffffu, 1};
  memcpy(payload + 8, lengths, 8);
  EXPECT_TRUE(refused(kj::arrayPtr(payload, 16)));
}

TEST(PackedList, HoldsItemsToTheirLimit) {
  EXPECT_FALSE(refused(sample(), 3));
  auto whole = sample();
  auto result = PackedList::parse(whole, 2);
  ASSERT_TRUE(result.is<BadPayload>());
  EXPECT_EQ(result.get<BadPayload>().reason, Reason::TOO_LARGE);
}

}  // namespace
}  // namespace ledger::rpc
