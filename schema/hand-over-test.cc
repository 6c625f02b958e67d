// SPDX-License-Identifier: Apache-2.0
// The bytes of a hand-over, as docs/formats.md shows them.

#include "schema/hand-over.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/encoding.h>

namespace ledger::rpc {
namespace {

using Kind = HandOverRequest::Kind;

const kj::StringPtr TOKEN = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

HandOverRequest requestOf(Kind kind) {
  HandOverRequest request{kind, {}};
  for (size_t i = 0; i < request.token.size(); ++i) request.token[i] = i;
  return request;
}

kj::Array<kj::byte> bytesOf(kj::StringPtr hex) {
  auto bytes = kj::decodeHex(hex);
  KJ_REQUIRE(!bytes.hadErrors);
  return kj::mv(bytes);
}

BadPayload refusal(kj::StringPtr head) {
  auto parsed = parseHandOverRequest(bytesOf(kj::str(head, TOKEN)));
  KJ_REQUIRE(parsed.is<BadPayload>(), "was accepted", head);
  return kj::mv(parsed.get<BadPayload>());
}

TEST(HandOverFormat, RequestsHaveTheirBytes) {
  EXPECT_EQ(kj::encodeHex(writeHandOverRequest(requestOf(Kind::TAKE))),
            kj::str("4c44484f01000100", TOKEN));
  EXPECT_EQ(kj::encodeHex(writeHandOverRequest(requestOf(Kind::GIVE))),
            kj::str("4c44484f01000200", TOKEN));
  for (auto kind : {Kind::TAKE, Kind::GIVE}) {
    auto parsed = parseHandOverRequest(writeHandOverRequest(requestOf(kind)));
    EXPECT_EQ(parsed.get<HandOverRequest>().kind, kind);
    EXPECT_EQ(parsed.get<HandOverRequest>().token, requestOf(kind).token);
  }
}

TEST(HandOverFormat, OtherRequestsAreRefused) {
  EXPECT_EQ(refusal("4c44484e01000100").code, Code::INVALID_ARGUMENT);
  EXPECT_EQ(refusal("4c44484f02000100").reason, Reason::VERSION_MISMATCH);
  EXPECT_EQ(refusal("4c44484f00000100").reason, Reason::VERSION_MISMATCH);
  EXPECT_EQ(refusal("4c44484f01000000").code, Code::UNIMPLEMENTED);
  EXPECT_EQ(refusal("4c44484f01000300").code, Code::UNIMPLEMENTED);
}

TEST(HandOverFormat, RepliesHaveTheirBytes) {
  EXPECT_EQ(kj::encodeHex(writeHandOverReply({})), "4c44484f0100000000000000");
  auto refused =
      writeHandOverReply({Code::INVALID_ARGUMENT, Reason::BAD_ARENA, kj::str("no memfd")});
  EXPECT_EQ(kj::encodeHex(refused), "4c44484f01000300100008006e6f206d656d6664");
  auto parsed = parseHandOverReply(refused);
  auto& reply = KJ_ASSERT_NONNULL(parsed);
  EXPECT_EQ(reply.code, Code::INVALID_ARGUMENT);
  EXPECT_EQ(reply.reason, Reason::BAD_ARENA);
  EXPECT_EQ(reply.message, "no memfd");
  for (size_t cut = 0; cut < refused.size(); ++cut) {
    EXPECT_TRUE(parseHandOverReply(refused.slice(0, cut)) == nullptr) << cut;
  }
}

TEST(HandOverFormat, ALongTextIsCut) {
  auto bytes = writeHandOverReply({Code::INTERNAL, {}, kj::str(kj::repeat('x', 70000))});
  EXPECT_EQ(KJ_ASSERT_NONNULL(parseHandOverReply(bytes)).message.size(), 1024u);
}

}  // namespace
}  // namespace ledger::rpc
