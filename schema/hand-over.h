// SPDX-License-Identifier: Apache-2.0
#pragma once
// What travels over the hand-over socket beside a descriptor: one request, one reply
// (docs/formats.md).

#include "schema/bad-payload.h"
#include "schema/ledger.capnp.h"

#include <kj/array.h>
#include <kj/one-of.h>
#include <kj/string.h>

#include <array>

namespace ledger::rpc {

// Bytes of a request, and of what stands before a reply's text.
constexpr size_t HAND_OVER_REQUEST_BYTES = 8 + HAND_OVER_TOKEN_BYTES;
constexpr size_t HAND_OVER_REPLY_HEADER_BYTES = 12;

using HandOverToken = std::array<kj::byte, HAND_OVER_TOKEN_BYTES>;

struct HandOverRequest {
  // What is to be done, with the numbers of the wire.
  enum class Kind : uint16_t {
    TAKE = 1,  // The client takes a descriptor of the server's, which comes with the reply.
    GIVE = 2,  // The client gives one of its own, which came with the request.
  } kind;
  HandOverToken token;
};

kj::Array<kj::byte> writeHandOverRequest(const HandOverRequest& request);

// `bytes` are HAND_OVER_REQUEST_BYTES.
kj::OneOf<HandOverRequest, BadPayload> parseHandOverRequest(kj::ArrayPtr<const kj::byte> bytes);

struct HandOverReply {
  Code code = Code::OK;  // OK: done, and there is no text.
  Reason reason = Reason::UNSPECIFIED;
  kj::String message;  // Cut where it is too long.
};

kj::Array<kj::byte> writeHandOverReply(const HandOverReply& reply);

// Null: not a whole reply of this version.
kj::Maybe<HandOverReply> parseHandOverReply(kj::ArrayPtr<const kj::byte> bytes);

}  // namespace ledger::rpc
