// SPDX-License-Identifier: Apache-2.0
#include "server/grpc-requests.h"

#include "ledger/byte-cursor.h"
#include "ledger/trie-update-cbor.h"
#include "schema/proto-wire.h"
#include "server/rpc-errors.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

using Bytes = kj::ArrayPtr<const kj::byte>;
using rpc::ProtoField;
using rpc::ProtoReader;

// Field numbers of ledger.proto.
constexpr uint32_t STATE = 1, KEYS = 2, VALUES = 3;  // Of requests; a single key is KEYS, too.
constexpr uint32_t HASH = 1;                         // Of State.
constexpr uint32_t PARTS = 1;                        // Of Key.
constexpr uint32_t PART_TYPE = 1, PART_VALUE = 2;    // Of KeyPart.
constexpr uint32_t DATA = 1;                         // Of Value.

Error malformed() {
  return makeError(Code::INTERNAL, Reason::BAD_ENCODING, "grpc: error unmarshalling request: ",
                   "proto: cannot parse invalid wire-format data");
}

Error invalid(Reason reason, kj::StringPtr text) {
  return makeError(Code::INVALID_ARGUMENT, reason, text);
}

// Calls visit(ProtoField) for each field. False: `message` is malformed, or visit() said so.
template <typename Visit>
bool visitFields(Bytes message, Visit&& visit) {
  ProtoReader reader(message);
  for (;;) {
    auto next = reader.next();
    KJ_IF_MAYBE (field, next) {
      if (!visit(*field)) return false;
    } else {
      return reader.ok();
    }
  }
}

// --- Keys and values ------------------------------------------------------------------------

// A part of a key. Of a field that comes again the last one counts, as everywhere in protobuf.
struct Part {
  uint32_t type = 0;
  Bytes value;
};

bool readPart(Bytes message, Part& part) {
  return visitFields(message, [&](const ProtoField& field) {
    if (field.isVarint(PART_TYPE)) part.type = field.varint;  // Cut to 32 bits, as in Go.
    if (field.isBytes(PART_VALUE)) part.value = field.bytes;
    return true;
  });
}

template <typename Visit>
bool visitParts(Bytes key, Visit&& visit) {
  return visitFields(key, [&](const ProtoField& field) {
    Part part;
    if (!field.isBytes(PARTS)) return true;
    if (!readPart(field.bytes, part)) return false;
    visit(part);
    return true;
  });
}

bool readValue(Bytes message, Bytes& data) {
  return visitFields(message, [&](const ProtoField& field) {
    if (field.isBytes(DATA)) data = field.bytes;
    return true;
  });
}

// Whether a field is a key. Go's decoder makes a message of the one key of a GetSingleValueRequest
// even of a field that has its number and another type; it has no parts then.
bool isKey(GrpcMethod method, const ProtoField& field) {
  if (method == GrpcMethod::HAS_STATE) return false;
  if (method == GrpcMethod::GET_SINGLE_VALUE) return field.number == KEYS;
  return field.isBytes(KEYS);
}

// --- Measuring ------------------------------------------------------------------------------

// Of an encoded key, and of a part beside its value.
constexpr uint64_t KEY_HEAD = 2, PART_HEAD = 6;

struct Shape {
  kj::Maybe<Bytes> state;
  uint64_t keyCount = 0, valueCount = 0;
  uint64_t partCount = 0;    // Of the key that has most.
  uint64_t longestKey = 0;   // Bytes, encoded.
  uint64_t encodedKeys = 0;  // Bytes of all of them.
  bool hasWideType = false;  // A part's type that does not fit 16 bits.
};

// A single key that comes several times is one key with the parts of all of them.
class Measurer {
public:
  explicit Measurer(GrpcMethod method) : method(method) {}

  // False: the message is malformed.
  bool measure(Bytes message) {
    return visitFields(message, [this](const ProtoField& field) {
      if (field.isBytes(STATE)) return measureState(field.bytes);
      if (isKey(method, field)) return measureKey(field.bytes);
      if (field.isBytes(VALUES) && method == GrpcMethod::SET) {
        ++shape.valueCount;
        Bytes ignored;
        return readValue(field.bytes, ignored);
      }
      return true;
    });
  }

  const Shape& result() const { return shape; }

private:
  bool measureState(Bytes state) {
    return visitFields(state, [this](const ProtoField& field) {
      if (field.isBytes(HASH)) shape.state = field.bytes;
      return true;
    });
  }

  bool measureKey(Bytes key) {
    const bool another = method != GrpcMethod::GET_SINGLE_VALUE || shape.keyCount == 0;
    if (another) {
      ++shape.keyCount;
      parts = 0;
      length = KEY_HEAD;
      shape.encodedKeys += KEY_HEAD;
    }
    const bool whole = visitParts(key, [this](const Part& part) {
      ++parts;
      length += PART_HEAD + part.value.size();
      shape.encodedKeys += PART_HEAD + part.value.size();
      if (part.type > UINT16_MAX) shape.hasWideType = true;
    });
    shape.partCount = kj::max(shape.partCount, parts);
    shape.longestKey = kj::max(shape.longestKey, length);
    return whole;
  }

  const GrpcMethod method;
  Shape shape;
  uint64_t parts = 0, length = 0;  // Of the last key.
};

kj::Maybe<Error> check(GrpcMethod method, const Shape& shape) {
  KJ_IF_MAYBE (state, shape.state) {
    if (state->size() != RootHash::SIZE) return invalid(Reason::BAD_STATE, "invalid state");
  } else {
    return invalid(Reason::BAD_STATE, "invalid state");
  }
  if (method == GrpcMethod::HAS_STATE) return nullptr;
  if (shape.keyCount == 0) {
    return invalid(Reason::BAD_REQUEST, method == GrpcMethod::GET_SINGLE_VALUE
                                            ? "key is nil"_kj
                                            : "keys cannot be empty"_kj);
  }
  if (method == GrpcMethod::SET && shape.keyCount != shape.valueCount) {
    return invalid(Reason::BAD_REQUEST, "keys and values length mismatch");
  }
  if (shape.hasWideType) return invalid(Reason::BAD_KEY, "key part type exceeds uint16");

  // What flow-go does not look at.
  if (shape.partCount > UINT16_MAX) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_KEY, "a key of ", shape.partCount,
                     " parts: the most is 65535");
  }
  if (shape.longestKey > MAX_KEY_SIZE) {
    return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "a key of ", shape.longestKey,
                     " bytes: the most is ", MAX_KEY_SIZE);
  }
  if (method == GrpcMethod::SET && shape.keyCount > MAX_CBOR_ELEMENTS) {
    return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "a Set of ", shape.keyCount,
                     " registers: clients of this service can read the answer to ",
                     MAX_CBOR_ELEMENTS, " at most");
  }
  return nullptr;
}

// --- Taking in ------------------------------------------------------------------------------

// Writes keys in their encoded form, one behind the other.
class KeyEncoder {
public:
  explicit KeyEncoder(kj::ArrayPtr<kj::byte> out) : writer(out) {}

  void begin() {
    close();
    first = writer.remaining();
    count = writer.reserve(KEY_HEAD);
    parts = 0;
  }

  void part(const Part& part) {
    ++parts;
    writer.u32(2 + part.value.size());
    writer.u16(part.type);
    writer.bytes(part.value);
  }

  // Bytes of the key that was begun last; its count of parts is set.
  uint64_t close() {
    if (count.size() == 0) return 0;
    count[0] = parts >> 8;
    count[1] = parts & 0xff;
    return first - writer.remaining();
  }

private:
  ByteWriter writer;
  kj::ArrayPtr<kj::byte> count;
  uint64_t first = 0, parts = 0;
};

}  // namespace

kj::Maybe<Error> checkGrpcMessage(Bytes message) {
  if (visitFields(message, [](const ProtoField&) { return true; })) return nullptr;
  return malformed();
}

Result<Bytes> parseHealthCheck(Bytes message) {
  Bytes service;
  const bool whole = visitFields(message, [&](const ProtoField& field) {
    if (field.isBytes(1)) service = field.bytes;
    return true;
  });
  if (!whole) return malformed();
  return service;
}

Result<GrpcRequest> parseGrpcRequest(GrpcMethod method, Bytes message,
                                     const shm::MemoryBudget& budget) {
  Measurer measurer(method);
  if (!measurer.measure(message)) return malformed();
  const Shape& shape = measurer.result();
  KJ_IF_MAYBE (error, check(method, shape)) return kj::mv(*error);

  GrpcRequest request;
  request.state = RootHash::copyOf(KJ_ASSERT_NONNULL(shape.state));
  if (shape.keyCount == 0) return kj::mv(request);
  auto reserved = budget.reserve(shape.encodedKeys + shape.keyCount * sizeof(EncodedKey) +
                                 shape.valueCount * sizeof(Value));
  if (reserved.is<shm::Shortage>()) return outOfMemory(reserved.get<shm::Shortage>());
  request.reservation = kj::mv(reserved.get<shm::Reservation>());
  request.encodedKeys = kj::heapArray<kj::byte>(shape.encodedKeys);
  request.keys = kj::heapArray<EncodedKey>(shape.keyCount);
  request.values = kj::heapArray<Value>(shape.valueCount);

  KeyEncoder encoder(request.encodedKeys);
  uint64_t keys = 0, values = 0, offset = 0;
  auto closeKey = [&]() {
    if (keys == 0) return;
    const uint64_t end = offset + encoder.close();
    request.keys[keys - 1] = request.encodedKeys.slice(offset, end);
    offset = end;
  };
  const bool whole = visitFields(message, [&](const ProtoField& field) {
    if (isKey(method, field)) {
      if (keys == 0 || method != GrpcMethod::GET_SINGLE_VALUE) {
        closeKey();
        encoder.begin();
        ++keys;
      }
      return visitParts(field.bytes, [&](const Part& part) { encoder.part(part); });
    }
    if (field.isBytes(VALUES) && method == GrpcMethod::SET) {
      return readValue(field.bytes, request.values[values++]);
    }
    return true;
  });
  closeKey();
  KJ_ASSERT(whole && keys == shape.keyCount && values == shape.valueCount &&
            offset == shape.encodedKeys);
  return kj::mv(request);
}

}  // namespace ledger::server
