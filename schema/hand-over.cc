// SPDX-License-Identifier: Apache-2.0
#include "schema/hand-over.h"

#include "schema/little-endian.h"

#include <kj/debug.h>

namespace ledger::rpc {
namespace {

constexpr uint32_t MAGIC = 0x4F48444C;  // "LDHO".
constexpr uint16_t VERSION = 1;
constexpr size_t MOST_TEXT = 1024;  // Bytes.

}  // namespace

kj::Array<kj::byte> writeHandOverRequest(const HandOverRequest& request) {
  auto bytes = kj::heapArray<kj::byte>(HAND_OVER_REQUEST_BYTES);
  storeLittle(bytes.begin(), MAGIC);
  storeLittle(bytes.begin() + 4, VERSION);
  storeLittle(bytes.begin() + 6, uint16_t(request.kind));
  memcpy(bytes.begin() + 8, request.token.data(), request.token.size());
  return bytes;
}

kj::OneOf<HandOverRequest, BadPayload> parseHandOverRequest(kj::ArrayPtr<const kj::byte> bytes) {
  KJ_REQUIRE(bytes.size() == HAND_OVER_REQUEST_BYTES, bytes.size());
  if (loadLittle<uint32_t>(bytes.begin()) != MAGIC) {
    return badRequest("this is the hand-over socket, and that is no request of its protocol");
  }
  const auto version = loadLittle<uint16_t>(bytes.begin() + 4);
  if (version != VERSION) {
    return BadPayload{Code::UNIMPLEMENTED, Reason::VERSION_MISMATCH,
                      kj::str("version ", version, " of the hand-over protocol is not known here, ",
                              VERSION, " is")};
  }
  const auto kind = loadLittle<uint16_t>(bytes.begin() + 6);
  if (kind != uint16_t(HandOverRequest::Kind::TAKE) &&
      kind != uint16_t(HandOverRequest::Kind::GIVE)) {
    return BadPayload{Code::UNIMPLEMENTED, Reason::UNSPECIFIED,
                      kj::str("a hand-over of the kind ", kind, " is not known here")};
  }
  HandOverRequest request{HandOverRequest::Kind(kind), {}};
  memcpy(request.token.data(), bytes.begin() + 8, request.token.size());
  return request;
}

kj::Array<kj::byte> writeHandOverReply(const HandOverReply& reply) {
  const size_t length = kj::min(reply.message.size(), MOST_TEXT);
  auto bytes = kj::heapArray<kj::byte>(HAND_OVER_REPLY_HEADER_BYTES + length);
  storeLittle(bytes.begin(), MAGIC);
  storeLittle(bytes.begin() + 4, VERSION);
  storeLittle(bytes.begin() + 6, uint16_t(reply.code));
  storeLittle(bytes.begin() + 8, uint16_t(reply.reason));
  storeLittle(bytes.begin() + 10, uint16_t(length));
  if (length > 0) {
    memcpy(bytes.begin() + HAND_OVER_REPLY_HEADER_BYTES, reply.message.begin(), length);
  }
  return bytes;
}

kj::Maybe<HandOverReply> parseHandOverReply(kj::ArrayPtr<const kj::byte> bytes) {
  if (bytes.size() < HAND_OVER_REPLY_HEADER_BYTES ||
      loadLittle<uint32_t>(bytes.begin()) != MAGIC ||
      loadLittle<uint16_t>(bytes.begin() + 4) != VERSION) {
    return nullptr;
  }
  auto text = bytes.slice(HAND_OVER_REPLY_HEADER_BYTES, bytes.size());
  if (text.size() != loadLittle<uint16_t>(bytes.begin() + 10)) return nullptr;
  return HandOverReply{Code(loadLittle<uint16_t>(bytes.begin() + 6)),
                       Reason(loadLittle<uint16_t>(bytes.begin() + 8)),
                       kj::heapString(text.asChars())};
}

}  // namespace ledger::rpc
