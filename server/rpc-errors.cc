// SPDX-License-Identifier: Apache-2.0
#include "server/rpc-errors.h"

namespace ledger::server {
namespace {

// Codes and reasons cross the wire as numbers.
template <typename Mine, typename Wire>
constexpr bool same(Mine mine, Wire wire) {
  return uint16_t(mine) == uint16_t(wire);
}

static_assert(same(Code::CANCELLED, rpc::Code::CANCELLED));
static_assert(same(Code::INVALID_ARGUMENT, rpc::Code::INVALID_ARGUMENT));
static_assert(same(Code::DEADLINE_EXCEEDED, rpc::Code::DEADLINE_EXCEEDED));
static_assert(same(Code::NOT_FOUND, rpc::Code::NOT_FOUND));
static_assert(same(Code::PERMISSION_DENIED, rpc::Code::PERMISSION_DENIED));
static_assert(same(Code::RESOURCE_EXHAUSTED, rpc::Code::RESOURCE_EXHAUSTED));
static_assert(same(Code::FAILED_PRECONDITION, rpc::Code::FAILED_PRECONDITION));
static_assert(same(Code::OUT_OF_RANGE, rpc::Code::OUT_OF_RANGE));
static_assert(same(Code::UNIMPLEMENTED, rpc::Code::UNIMPLEMENTED));
static_assert(same(Code::INTERNAL, rpc::Code::INTERNAL));
static_assert(same(Code::UNAVAILABLE, rpc::Code::UNAVAILABLE));
static_assert(same(Code::DATA_LOSS, rpc::Code::DATA_LOSS));

static_assert(same(Reason::UNSPECIFIED, rpc::Reason::UNSPECIFIED));
static_assert(same(Reason::BAD_STATE, rpc::Reason::BAD_STATE));
static_assert(same(Reason::BAD_KEY, rpc::Reason::BAD_KEY));
static_assert(same(Reason::BAD_REQUEST, rpc::Reason::BAD_REQUEST));
static_assert(same(Reason::UNKNOWN_STATE, rpc::Reason::UNKNOWN_STATE));
static_assert(same(Reason::INDEX_OUT_OF_RANGE, rpc::Reason::INDEX_OUT_OF_RANGE));
static_assert(same(Reason::TOO_LARGE, rpc::Reason::TOO_LARGE));
static_assert(same(Reason::OUT_OF_MEMORY, rpc::Reason::OUT_OF_MEMORY));
static_assert(same(Reason::OUT_OF_SHARED_MEMORY, rpc::Reason::OUT_OF_SHARED_MEMORY));
static_assert(same(Reason::QUOTA, rpc::Reason::QUOTA));
static_assert(same(Reason::READ_ONLY_SESSION, rpc::Reason::READ_ONLY_SESSION));
static_assert(same(Reason::SHUTTING_DOWN, rpc::Reason::SHUTTING_DOWN));
static_assert(same(Reason::CANCELLED, rpc::Reason::CANCELLED));
static_assert(same(Reason::WRITE_FAILED, rpc::Reason::WRITE_FAILED));
static_assert(same(Reason::PROOF_TOO_DEEP, rpc::Reason::PROOF_TOO_DEEP));
static_assert(same(Reason::SET_ID_REUSED, rpc::Reason::SET_ID_REUSED));
static_assert(same(Reason::BAD_ARENA, rpc::Reason::BAD_ARENA));
static_assert(same(Reason::VERSION_MISMATCH, rpc::Reason::VERSION_MISMATCH));
static_assert(same(Reason::BAD_ENCODING, rpc::Reason::BAD_ENCODING));

}  // namespace

void fill(rpc::Error::Builder builder, const Error& error) {
  builder.setCode(static_cast<rpc::Code>(error.code));
  builder.setReason(static_cast<rpc::Reason>(error.reason));
  builder.setMessage(error.message);
}

Error toError(rpc::BadPayload&& bad) {
  return {static_cast<Code>(bad.code), static_cast<Reason>(bad.reason), kj::mv(bad.message)};
}

Error queueFull(uint32_t length) {
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, "the server is busy: ", length,
                   " operations wait for a worker");
}

Error outOfMemory(const shm::Shortage& shortage) {
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::OUT_OF_MEMORY, shortage.describe());
}

Error toError(const shm::Refusal& refusal) {
  switch (refusal.cause) {
    case shm::Refusal::Cause::MEMORY:
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::OUT_OF_SHARED_MEMORY, refusal.message);
    case shm::Refusal::Cause::COUNT:
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, refusal.message);
    case shm::Refusal::Cause::CLOSED:
      return makeError(Code::UNAVAILABLE, Reason::SHUTTING_DOWN, refusal.message);
  }
  KJ_UNREACHABLE;
}

}  // namespace ledger::server
