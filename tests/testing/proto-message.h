// SPDX-License-Identifier: Apache-2.0
#pragma once
// Protobuf messages for tests, and those of ledger.proto that requests are made of.

#include "ledger/model.h"
#include "schema/proto-wire.h"

#include <kj/debug.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <initializer_list>

namespace ledger::testing {

// A message, field by field. Also what is not well-formed, by raw().
class ProtoMessage {
public:
  ProtoMessage& bytes(uint32_t number, kj::ArrayPtr<const kj::byte> content) {
    auto field = kj::heapArray<kj::byte>(rpc::bytesFieldSize(content.size()));
    rpc::ProtoWriter(field).bytes(number, content);
    return raw(field);
  }
  ProtoMessage& message(uint32_t number, const ProtoMessage& inner) {
    return bytes(number, inner.content());
  }
  ProtoMessage& varint(uint32_t number, uint64_t value) {
    auto field = kj::heapArray<kj::byte>(1 + rpc::varintSize(value));
    rpc::ProtoWriter(field).varint(number, value);
    return raw(field);
  }
  ProtoMessage& raw(kj::ArrayPtr<const kj::byte> more) {
    encoded.addAll(more);
    return *this;
  }
  ProtoMessage& raw(std::initializer_list<kj::byte> more) {
    encoded.addAll(more);
    return *this;
  }

  kj::ArrayPtr<const kj::byte> content() const { return encoded; }

private:
  kj::Vector<kj::byte> encoded;
};

inline ProtoMessage stateMessage(const RootHash& state) {
  return kj::mv(ProtoMessage().bytes(1, state.ptr()));
}

inline ProtoMessage partMessage(uint32_t type, kj::StringPtr value) {
  return kj::mv(ProtoMessage().varint(1, type).bytes(2, value.asBytes()));
}

// A key of one part, of type 2.
inline ProtoMessage keyMessage(kj::StringPtr name) {
  return kj::mv(ProtoMessage().message(1, partMessage(2, name)));
}

inline ProtoMessage valueMessage(kj::ArrayPtr<const kj::byte> data) {
  return kj::mv(ProtoMessage().bytes(1, data));
}

// A request about some keys at a state; a Set's values are to follow.
inline ProtoMessage requestMessage(const RootHash& state,
                                   std::initializer_list<kj::StringPtr> keys) {
  ProtoMessage request;
  request.message(1, stateMessage(state));
  for (auto& key : keys) request.message(2, keyMessage(key));
  return request;
}

// The content of the first field of that number in a message, which must be there.
inline kj::ArrayPtr<const kj::byte> fieldOf(kj::ArrayPtr<const kj::byte> message, uint32_t number) {
  rpc::ProtoReader reader(message);
  for (;;) {
    auto field = KJ_REQUIRE_NONNULL(reader.next(), "no such field", number);
    if (field.isBytes(number)) return field.bytes;
  }
}

// The state of a StateResponse or a SetResponse.
inline RootHash stateOf(kj::ArrayPtr<const kj::byte> response) {
  return RootHash::copyOf(fieldOf(fieldOf(response, 1), 1));
}

}  // namespace ledger::testing
