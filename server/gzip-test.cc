// SPDX-License-Identifier: Apache-2.0
#include "server/gzip.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/vector.h>
#include <zlib.h>

#include <cstring>

namespace ledger::server {
namespace {

using Bytes = kj::Array<kj::byte>;

Bytes compress(kj::ArrayPtr<const kj::byte> plain) {
  z_stream stream{};
  KJ_ASSERT(deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  auto out = kj::heapArray<kj::byte>(deflateBound(&stream, plain.size()));
  stream.next_in = const_cast<kj::byte*>(plain.begin());
  stream.avail_in = plain.size();
  stream.next_out = out.begin();
  stream.avail_out = out.size();
  KJ_ASSERT(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  auto result = kj::heapArray(out.slice(0, stream.total_out));
  deflateEnd(&stream);
  return result;
}

Bytes filled(size_t length, char with) {
  auto bytes = kj::heapArray<kj::byte>(length);
  memset(bytes.begin(), with, length);
  return bytes;
}

struct Gzip : public testing::Test {
  ~Gzip() noexcept override {}
  kj::Own<const shm::MemoryBudget> budget = shm::MemoryBudget::create("--memory-limit", 8 << 20);
};

TEST_F(Gzip, InflatesWhatWasCompressed) {
  for (size_t length : {0, 1, 1000, 16 << 10, 1 << 20}) {
    SCOPED_TRACE(length);
    const auto plain = filled(length, 'z');
    const auto compressed = compress(plain);
    EXPECT_TRUE(isGzip(compressed));
    auto result = inflate(compressed, 1 << 20, *budget, Stop::never());
    ASSERT_TRUE(result.is<Inflated>());
    EXPECT_TRUE(result.get<Inflated>().bytes == plain.asPtr());
    EXPECT_EQ(budget->used(), length);
  }
  EXPECT_EQ(budget->used(), 0u);
}

// Some compress in pieces, each a member of its own.
TEST_F(Gzip, InflatesSeveralMembers) {
  kj::Vector<kj::byte> members;
  members.addAll(compress("one "_kj.asBytes()));
  members.addAll(compress(nullptr));
  members.addAll(compress("two"_kj.asBytes()));
  auto result = inflate(members, 100, *budget, Stop::never());
  ASSERT_TRUE(result.is<Inflated>());
  EXPECT_TRUE(result.get<Inflated>().bytes == "one two"_kj.asBytes());
}

// A bomb: nothing of it is kept.
TEST_F(Gzip, RefusesWhatInflatesToTooMuch) {
  const auto compressed = compress(filled(1001, 0));
  EXPECT_TRUE(inflate(compressed, 1001, *budget, Stop::never()).is<Inflated>());
  auto refused = inflate(compressed, 1000, *budget, Stop::never());
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::RESOURCE_EXHAUSTED);
  EXPECT_STREQ(refused.get<Error>().message.cStr(),
               "grpc: received message after decompression larger than max 1000");

  auto large = inflate(compress(filled(9 << 20, 0)), 1 << 30, *budget, Stop::never());
  ASSERT_TRUE(large.is<Error>());
  EXPECT_EQ(large.get<Error>().reason, Reason::OUT_OF_MEMORY);
}

// Would catch damage that is taken for the end, and reads past it.
TEST_F(Gzip, RefusesEveryCutAndEveryFlippedByteOfItsContent) {
  const auto whole = compress("some text worth compressing, worth compressing"_kj.asBytes());
  for (size_t cut = 2; cut < whole.size(); ++cut) {
    SCOPED_TRACE(cut);
    EXPECT_TRUE(inflate(kj::heapArray(whole.slice(0, cut)), 1000, *budget, Stop::never()).is<Error>());
  }
  constexpr size_t HEAD = 10;  // Of which some bytes mean nothing.
  for (size_t at = HEAD; at < whole.size(); ++at) {
    SCOPED_TRACE(at);
    auto damaged = kj::heapArray(whole.asPtr());
    damaged[at] ^= 0x55;
    auto refused = inflate(damaged, 1000, *budget, Stop::never());
    ASSERT_TRUE(refused.is<Error>());
    EXPECT_EQ(refused.get<Error>().code, Code::INTERNAL);
  }
}

TEST_F(Gzip, TakesNoMessageForCompressed) {
  EXPECT_FALSE(isGzip(nullptr));
  const kj::byte bytes[] = {0x1f, 0x8b, 0x1f};
  EXPECT_FALSE(isGzip(kj::arrayPtr(bytes, 1)));
  EXPECT_FALSE(isGzip(kj::arrayPtr(bytes + 1, 2)));
  EXPECT_TRUE(isGzip(kj::arrayPtr(bytes, 2)));
}

// Says stop when it has been asked so many times.
class StopAfter final : public Stop {
public:
  explicit StopAfter(int times) : left(times) {}
  bool requested() const override { return left-- <= 0; }

private:
  mutable int left;
};

// A few kilobytes may be worked on for long: also then a call that was given up ends.
TEST_F(Gzip, StopsInTheMiddle) {
  const auto compressed = compress(filled(2 << 20, 0));
  int asked = 0;
  for (;; ++asked) {
    auto result = inflate(compressed, 1 << 30, *budget, StopAfter(asked));
    if (result.is<Inflated>()) break;
    ASSERT_EQ(result.get<Error>().code, Code::CANCELLED);
    ASSERT_EQ(budget->used(), 0u);
  }
  EXPECT_GE(asked, 2 * 2) << "it looks at least once a MiB, both times";
}

}  // namespace
}  // namespace ledger::server
