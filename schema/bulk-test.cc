// SPDX-License-Identifier: Apache-2.0
#include "schema/bulk.h"

#include "schema/message-limits.h"

#include <capnp/message.h>
#include <gtest/gtest.h>
#include <kj/async-io.h>

namespace ledger::rpc {
namespace {

constexpr uint64_t LIMIT = uint64_t(1) << 30;

class FakeRegion final : public Region::Server {};

// One Bulk, filled and read as a peer would.
struct Fixture {
  capnp::MallocMessageBuilder message;
  Bulk::Builder bulk = message.getRoot<Bulk>();
  kj::EventLoop loop;
  kj::WaitScope waitScope{loop};

  kj::OneOf<BulkPlace, BadPayload> located(uint64_t limit = LIMIT) {
    return locate(bulk.asReader(), limit);
  }
  Reason refusal(uint64_t limit = LIMIT) {
    auto result = located(limit);
    KJ_REQUIRE(result.is<BadPayload>(), "was not refused");
    return result.get<BadPayload>().reason;
  }
};

kj::Array<kj::byte> pattern(size_t length) {
  auto bytes = kj::heapArray<kj::byte>(length);
  for (size_t index = 0; index < length; ++index) bytes[index] = kj::byte(index * 31 + index / 253);
  return bytes;
}

// Would catch a chunk lost, repeated or cut, at lengths around the slice and the chunk.
TEST(Bulk, InlineGivesBackEveryByteAtEveryEdge) {
  const size_t slice = 16 << 10;
  for (size_t length : {size_t(0), size_t(1), slice - 1, slice, slice + 1, 2 * slice,
                        size_t(INLINE_CHUNK_BYTES), size_t(INLINE_CHUNK_BYTES) + 1}) {
    SCOPED_TRACE(length);
    Fixture f;
    auto payload = pattern(length);
    auto pieces = kj::heapArray<Bytes>({payload.asPtr()});
    copyInSlices(kj::mv(pieces), initInline(f.bulk, length)).wait(f.waitScope);

    auto result = f.located();
    ASSERT_TRUE(result.is<BulkPlace>());
    auto& place = result.get<BulkPlace>();
    EXPECT_EQ(place.length, length);
    auto& chunks = place.form.get<InlineChunks>().chunks;
    EXPECT_EQ(chunks.size(), (length + INLINE_CHUNK_BYTES - 1) / INLINE_CHUNK_BYTES);

    auto back = kj::heapArray<kj::byte>(length);
    auto whole = kj::heapArray<kj::ArrayPtr<kj::byte>>({back.asPtr()});
    copyInSlices(kj::mv(chunks), kj::mv(whole)).wait(f.waitScope);
    EXPECT_TRUE(back == payload);
  }
}

// A large copy must not keep the loop from other work.
TEST(Bulk, CopyInSlicesLetsOthersRun) {
  Fixture f;
  auto from = pattern(4 << 20);
  auto to = kj::heapArray<kj::byte>(from.size());
  auto copy = copyInSlices(kj::heapArray<Bytes>({from.asPtr()}),
                           kj::heapArray<kj::ArrayPtr<kj::byte>>({to.asPtr()}));
  EXPECT_TRUE(kj::evalLater([]() {}).poll(f.waitScope));
  EXPECT_FALSE(to == from) << "the copy ran to its end in one turn";
  copy.wait(f.waitScope);
  EXPECT_TRUE(to == from);
}

// Unequal lengths would leave bytes unset in a reply.
TEST(Bulk, CopyInSlicesRefusesUnequalLengths) {
  Fixture f;
  auto from = pattern(3);
  auto to = kj::heapArray<kj::byte>(2);
  EXPECT_ANY_THROW(copyInSlices(kj::heapArray<Bytes>({from.asPtr()}),
                                kj::heapArray<kj::ArrayPtr<kj::byte>>({to.asPtr()}))
                       .wait(f.waitScope));
}

// A client of another make may cut its chunks anywhere.
TEST(Bulk, TakesChunksOfAnyLength) {
  Fixture f;
  auto list = f.bulk.initInline(4);
  list.set(0, "a"_kj.asBytes());
  list.set(2, "bcd"_kj.asBytes());  // 1 and 3 stay empty.
  auto result = f.located();
  ASSERT_TRUE(result.is<BulkPlace>());
  EXPECT_EQ(result.get<BulkPlace>().length, 4u);
  EXPECT_EQ(result.get<BulkPlace>().form.get<InlineChunks>().chunks.size(), 2u);
}

// One-byte or empty chunks would cost their receiver many times the message's memory.
TEST(Bulk, HoldsTheNumberOfChunksToThePayload) {
  for (size_t chunkBytes : {size_t(0), size_t(1), size_t(MIN_CHUNK_BYTES)}) {
    SCOPED_TRACE(chunkBytes);
    auto chunk = pattern(chunkBytes);
    auto isTaken = [&](uint32_t count) {
      Fixture f;
      auto list = f.bulk.initInline(count);
      for (uint32_t index = 0; index < count; ++index) {
        // Long ones only where they matter.
        if (chunkBytes < 2 || index < 4) list.set(index, chunk);
      }
      return f.located().is<BulkPlace>();
    };
    const uint32_t most = SHORT_CHUNKS + (chunkBytes < 2 ? 0 : 4);
    EXPECT_TRUE(isTaken(most));
    EXPECT_FALSE(isTaken(most + 1));
  }
  Fixture f;
  f.bulk.initInline(SHORT_CHUNKS + 1);
  EXPECT_EQ(f.refusal(), Reason::BAD_REQUEST);
  EXPECT_EQ(f.refusal(0), Reason::BAD_REQUEST);
}

TEST(Bulk, RefusesWhatNobodyFilledIn) {
  Fixture f;
  EXPECT_EQ(f.refusal(), Reason::BAD_REQUEST);
}

TEST(Bulk, HoldsEveryFormToTheLimit) {
  Fixture f;
  setInline(f.bulk, "12345"_kj.asBytes());
  EXPECT_TRUE(f.located(5).is<BulkPlace>());
  EXPECT_EQ(f.refusal(4), Reason::TOO_LARGE);

  setSpan(f.bulk, kj::heap<FakeRegion>(), {1, 0, 5});
  EXPECT_TRUE(f.located(5).is<BulkPlace>());
  EXPECT_EQ(f.refusal(4), Reason::TOO_LARGE);

  auto table = f.bulk.initTable();
  table.setRegion(kj::heap<FakeRegion>());
  table.setCount(2);
  table.setLength(5);
  EXPECT_TRUE(f.located(48).is<BulkPlace>());
  EXPECT_EQ(f.refusal(47), Reason::BAD_REQUEST) << "a table longer than any payload";
  EXPECT_EQ(f.refusal(4), Reason::TOO_LARGE);
}

// A span that wraps round 2^64 would pass a check of its end against the arena's size.
TEST(Bulk, RefusesSpansThatOverflow) {
  Fixture f;
  setSpan(f.bulk, kj::heap<FakeRegion>(), {1, UINT64_MAX - 3, 4});
  EXPECT_EQ(f.refusal(), Reason::BAD_REQUEST);
  setSpan(f.bulk, kj::heap<FakeRegion>(), {1, UINT64_MAX - 4, 4});
  EXPECT_TRUE(f.located().is<BulkPlace>());

  auto table = f.bulk.initTable();
  table.setRegion(kj::heap<FakeRegion>());
  table.setCount(1);
  table.setOffset(UINT64_MAX - TABLE_ENTRY_BYTES + 1);
  EXPECT_EQ(f.refusal(), Reason::BAD_REQUEST);
  table.setOffset(0);
  for (uint64_t lease : {uint64_t(1), uint64_t(12), UINT64_MAX, UINT64_MAX - 7}) {
    table.setLease(lease);
    EXPECT_EQ(f.refusal(), Reason::BAD_REQUEST) << lease;
  }
}

// Without a region nothing keeps the bytes in place while they are copied.
TEST(Bulk, RefusesSharedFormsWithoutARegion) {
  Fixture f;
  f.bulk.initSpan().setLength(1);
  EXPECT_EQ(f.refusal(), Reason::BAD_REQUEST);
  f.bulk.initTable().setLength(1);
  EXPECT_EQ(f.refusal(), Reason::BAD_REQUEST);
}

kj::Array<kj::byte> tableOf(kj::ArrayPtr<const ArenaSpan> spans) {
  auto bytes = kj::heapArray<kj::byte>(tableSize(spans.size()));
  writeTable(spans, bytes);
  return bytes;
}

// The contract's bytes: any client's reader expects these.
TEST(BulkTable, HasTheBytesOfTheContract) {
  const ArenaSpan spans[] = {{0x01020304, 0x1112131415161718, 0x2122232425262728}};
  const kj::byte expected[] = {4,    3,    2,    1,    0,    0,    0,    0,
                               0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
                               0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21};
  EXPECT_EQ(tableOf(spans).asPtr(), kj::arrayPtr(expected, sizeof(expected)));
}

TEST(BulkTable, GivesItsSpansInOrder) {
  const ArenaSpan spans[] = {{7, 100, 3}, {8, 0, 0}, {7, UINT64_MAX - 9, 9}};
  auto table = tableOf(spans);
  auto result = parseTable(table, 12);
  ASSERT_TRUE(result.is<kj::Array<ArenaSpan>>());
  auto& parsed = result.get<kj::Array<ArenaSpan>>();
  ASSERT_EQ(parsed.size(), 3u);
  for (size_t index = 0; index < 3; ++index) {
    EXPECT_EQ(parsed[index].arena, spans[index].arena);
    EXPECT_EQ(parsed[index].offset, spans[index].offset);
    EXPECT_EQ(parsed[index].length, spans[index].length);
  }
}

// The receiver allocates the payload by its stated length: the spans may neither exceed it (bytes
// written past the end) nor fall short (bytes never written).
TEST(BulkTable, RefusesSpansThatDoNotAddUp) {
  const ArenaSpan spans[] = {{7, 100, 3}, {7, 0, 9}};
  auto table = tableOf(spans);
  EXPECT_TRUE(parseTable(table, 11).is<BadPayload>());
  EXPECT_TRUE(parseTable(table, 13).is<BadPayload>());
  const ArenaSpan wrapping[] = {{7, 0, UINT64_MAX}, {7, 0, 2}};
  auto wrapped = tableOf(wrapping);
  EXPECT_TRUE(parseTable(wrapped, 1).is<BadPayload>());
  const ArenaSpan overflowing[] = {{7, UINT64_MAX, 1}};
  auto overflowed = tableOf(overflowing);
  EXPECT_TRUE(parseTable(overflowed, 1).is<BadPayload>());
  table[4] = 1;
  EXPECT_TRUE(parseTable(table, 12).is<BadPayload>()) << "a second number other than 0";
}

// The two directions must agree, or a sender promises what its peer's limit refuses.
TEST(MessageLimits, APayloadFitsIntoTheMessageDerivedFromIt) {
  for (uint64_t bytes = 1; bytes < (uint64_t(1) << 40); bytes = bytes * 3 + 1) {
    EXPECT_GE(inlinePayloadFor(messageWordsFor(bytes)) + 64, bytes) << bytes;
  }
  uint64_t before = 0;
  for (uint64_t words = 0; words < (uint64_t(1) << 34); words = words * 2 + 1) {
    const uint64_t payload = inlinePayloadFor(words);
    EXPECT_LE(payload, words * 8);
    EXPECT_GE(payload, before);
    before = payload;
  }
  // A peer may name any number.
  for (uint64_t words : {UINT64_MAX / 64 * 9, UINT64_MAX - 1, UINT64_MAX}) {
    EXPECT_GE(inlinePayloadFor(words), before);
    EXPECT_LE(messageWordsFor(inlinePayloadFor(words)), words);
  }
}

}  // namespace
}  // namespace ledger::rpc
