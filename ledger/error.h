// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why the ledger said no. A refusal that the contract foresees is a value, never an exception;
// code and reason are part of the contract and never change their meaning.

#include <kj/one-of.h>
#include <kj/string.h>

#include <cstdint>

namespace ledger {

// gRPC's canonical codes, with their numbers.
enum class Code : uint8_t {
  CANCELLED = 1,
  INVALID_ARGUMENT = 3,
  DEADLINE_EXCEEDED = 4,
  NOT_FOUND = 5,
  PERMISSION_DENIED = 7,
  RESOURCE_EXHAUSTED = 8,
  FAILED_PRECONDITION = 9,
  OUT_OF_RANGE = 11,
  UNIMPLEMENTED = 12,
  INTERNAL = 13,
  UNAVAILABLE = 14,
  DATA_LOSS = 15,
};

// The cause, for programs. Numbers are those of schema/ledger.capnp's Reason: append only.
enum class Reason : uint16_t {
  UNSPECIFIED = 0,
  BAD_STATE = 1,             // A state that is not 32 bytes.
  BAD_KEY = 2,               // A key that is not a well-formed encoded key.
  BAD_REQUEST = 3,           // Counts, lengths or offsets of a request contradict each other.
  UNKNOWN_STATE = 4,         // Never built here, or evicted.
  INDEX_OUT_OF_RANGE = 5,    // No state with that index.
  TOO_LARGE = 6,             // A request, reply or value over its limit.
  OUT_OF_MEMORY = 7,         // --memory-limit.
  OUT_OF_SHARED_MEMORY = 8,  // --shared-memory-limit, or the session's --arena-size.
  QUOTA = 9,                 // The session's regions, calls in flight or pinned states.
  READ_ONLY_SESSION = 10,
  SHUTTING_DOWN = 11,
  CANCELLED = 12,
  WRITE_FAILED = 13,      // The log refused the record: nothing was acknowledged.
  PROOF_TOO_DEEP = 14,    // A proof of 256 steps does not fit flow-go's format.
  SET_ID_REUSED = 15,     // The id of a recent Set came with another request.
  BAD_ARENA = 16,         // A client's arena that is unknown, unsealed, or not a memfd.
  VERSION_MISMATCH = 17,  // No protocol version in common.
  BAD_ENCODING = 18,      // Bytes that do not decode.
};

struct Error {
  Code code;
  Reason reason;
  kj::String message;

  Error clone() const { return {code, reason, kj::str(message)}; }
};

template <typename T>
using Result = kj::OneOf<T, Error>;

template <typename... Params>
Error makeError(Code code, Reason reason, Params&&... message) {
  return {code, reason, kj::str(kj::fwd<Params>(message)...)};
}

}  // namespace ledger
