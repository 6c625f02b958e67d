// SPDX-License-Identifier: Apache-2.0
// A token is good for one hand-over, of one direction, by one user, for a minute.

#include "server/hand-over-tokens.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <set>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace ledger::server {
namespace {

constexpr uid_t USER = 1000, OTHER = 1001;

struct SetClock final : public kj::MonotonicClock {
  kj::TimePoint now() const override { return time; }
  kj::TimePoint time = kj::origin<kj::TimePoint>();
};

kj::AutoCloseFd memfd(uint64_t size, int seals = F_SEAL_SHRINK) {
  int fd;
  KJ_SYSCALL(fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  kj::AutoCloseFd owned(fd);
  KJ_SYSCALL(ftruncate(owned, size));
  KJ_SYSCALL(fcntl(owned, F_ADD_SEALS, seals));
  return owned;
}

bool isSameFile(int left, int right) {
  struct stat first, second;
  KJ_SYSCALL(fstat(left, &first));
  KJ_SYSCALL(fstat(right, &second));
  return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

struct Tokens : public testing::Test {
  ~Tokens() noexcept override {}

  static rpc::HandOverToken copyOf(const HandOverTokens::Token& token) {
    rpc::HandOverToken copy;
    KJ_REQUIRE(token.bytes().size() == copy.size());
    memcpy(copy.data(), token.bytes().begin(), copy.size());
    return copy;
  }
  // Ok, or why not.
  Code take(const rpc::HandOverToken& token, uid_t user = USER) {
    auto taken = tokens.take(token, user);
    KJ_IF_MAYBE (error, taken.tryGet<Error>()) return error->code;
    EXPECT_TRUE(isSameFile(taken.get<kj::AutoCloseFd>(), arena));
    return OK;
  }
  Code give(const rpc::HandOverToken& token, kj::AutoCloseFd fd, uid_t user = USER) {
    KJ_IF_MAYBE (error, tokens.give(token, user, kj::mv(fd))) return error->code;
    return OK;
  }
  HandOverTokens::Token offer(uint32_t id, uint64_t size = 4096) {
    peers->expect(id);
    return tokens.forGiving(USER, kj::atomicAddRef(*peers), id, size);
  }
  bool isReadable(uint32_t id) {
    kj::byte byte;
    return peers->read({id, 0, 1}, kj::arrayPtr(&byte, 1)) == nullptr;
  }

  static constexpr Code OK = Code(0);
  kj::AutoCloseFd arena = memfd(4096);
  kj::Own<const PeerArenas> peers = kj::atomicRefcounted<PeerArenas>();
  SetClock clock;
  HandOverTokens tokens{clock};
};

TEST_F(Tokens, AreGoodForOneTaking) {
  auto token = tokens.forTaking(USER, arena);
  EXPECT_EQ(take(copyOf(token)), OK);
  EXPECT_EQ(take(copyOf(token)), Code::NOT_FOUND);
}

TEST_F(Tokens, AreGoodForOneGiving) {
  auto token = offer(7);
  EXPECT_FALSE(isReadable(7));
  EXPECT_EQ(give(copyOf(token), memfd(4096)), OK);
  EXPECT_TRUE(isReadable(7));
  EXPECT_EQ(give(copyOf(token), memfd(4096)), Code::NOT_FOUND);
}

// A thief must not even spoil it for its owner.
TEST_F(Tokens, AreTheirUsersAlone) {
  auto token = tokens.forTaking(USER, arena), offered = offer(7);
  EXPECT_EQ(take(copyOf(token), OTHER), Code::PERMISSION_DENIED);
  EXPECT_EQ(give(copyOf(offered), memfd(4096), OTHER), Code::PERMISSION_DENIED);
  EXPECT_EQ(take(copyOf(token)), OK);
  EXPECT_EQ(give(copyOf(offered), memfd(4096)), OK);
}

TEST_F(Tokens, AreForOneDirection) {
  auto token = tokens.forTaking(USER, arena), offered = offer(7);
  EXPECT_EQ(give(copyOf(token), memfd(4096)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(take(copyOf(offered)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(take(copyOf(token)), OK);
  EXPECT_EQ(give(copyOf(offered), memfd(4096)), OK);
}

TEST_F(Tokens, ExpireAfterAMinute) {
  auto early = tokens.forTaking(USER, arena), late = tokens.forTaking(USER, arena);
  clock.time += HandOverTokens::VALIDITY - 1 * kj::NANOSECONDS;
  EXPECT_EQ(take(copyOf(early)), OK);
  clock.time += 1 * kj::NANOSECONDS;
  EXPECT_EQ(take(copyOf(late)), Code::NOT_FOUND);
}

TEST_F(Tokens, EndWhenTheyAreDropped) {
  rpc::HandOverToken kept;
  {
    auto token = tokens.forTaking(USER, arena);
    kept = copyOf(token);
    auto moved = kj::mv(token);
    auto another = offer(7);
  }
  EXPECT_EQ(take(kept), Code::NOT_FOUND);
}

// Near is as far as anywhere: not one wrong bit is let through.
TEST_F(Tokens, OneWrongBitIsEnough) {
  auto token = tokens.forTaking(USER, arena);
  for (size_t bit = 0; bit < 8 * rpc::HAND_OVER_TOKEN_BYTES; ++bit) {
    auto wrong = copyOf(token);
    wrong[bit / 8] ^= 1 << (bit % 8);
    ASSERT_EQ(take(wrong), Code::NOT_FOUND) << bit;
  }
  EXPECT_EQ(take(copyOf(token)), OK);
}

TEST_F(Tokens, AreDifferent) {
  std::set<rpc::HandOverToken> seen;
  for (int round = 0; round < 1000; ++round) {
    ASSERT_TRUE(seen.insert(copyOf(tokens.forTaking(USER, arena))).second);
  }
}

TEST_F(Tokens, AreUsedUpByMemoryThatIsRefused) {
  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd readEnd(ends[0]), writeEnd(ends[1]);
  auto notSealed = offer(1), tooSmall = offer(2), aPipe = offer(3);
  EXPECT_EQ(give(copyOf(notSealed), memfd(4096, 0)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(give(copyOf(tooSmall), memfd(4095)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(give(copyOf(aPipe), kj::mv(readEnd)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(give(copyOf(notSealed), memfd(4096)), Code::NOT_FOUND);
  EXPECT_EQ(peers->count(), 3u);
  EXPECT_FALSE(isReadable(1) || isReadable(2) || isReadable(3));
}

// Memory that comes when nobody will name it any more must not stay.
TEST_F(Tokens, ADroppedRegistrationTakesNoMemory) {
  auto token = offer(7);
  peers->remove(7);
  EXPECT_EQ(give(copyOf(token), memfd(4096)), Code::INVALID_ARGUMENT);
  EXPECT_EQ(peers->count(), 0u);
}

}  // namespace
}  // namespace ledger::server
