// SPDX-License-Identifier: Apache-2.0
#include "server/intake.h"

#include "server/rpc-errors.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

// A register read takes some 2 us, and an encoded key has about 32 bytes.
constexpr uint64_t KEY_BYTES_PER_COST = 16;

Result<kj::Maybe<SetId>> parseSetId(capnp::Data::Reader bytes) {
  if (bytes.size() == 0) return kj::Maybe<SetId>(nullptr);
  SetId id;
  if (bytes.size() != id.size()) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, "a Set's id has ", id.size(),
                     " bytes, not ", bytes.size());
  }
  memcpy(id.data(), bytes.begin(), id.size());
  return kj::Maybe<SetId>(id);
}

}  // namespace

Result<RootHash> parseState(capnp::Data::Reader bytes) {
  if (bytes.size() != RootHash::SIZE) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_STATE, "a state has ", RootHash::SIZE,
                     " bytes, not ", bytes.size());
  }
  return RootHash::copyOf(bytes);
}

Error readOnly() {
  return makeError(Code::PERMISSION_DENIED, Reason::READ_ONLY_SESSION,
                   "this client may read the ledger, and not change it");
}

void Intake::initialState() {
  operations.add(Operation{Operation::Kind::INITIAL_STATE, {}, {}, {}, nullptr});
  addCost(1);
}

void Intake::hasState(rpc::StateRequest::Reader request) {
  add(Operation::Kind::HAS_STATE, request.getState(), RequestBody(), RequestBody(), nullptr);
  addCost(1);
}

void Intake::getSingleValue(rpc::GetSingleValueRequest::Reader request) {
  auto key = request.getKey();
  add(Operation::Kind::GET_SINGLE_VALUE, request.getState(), take(key), RequestBody(), nullptr);
  addCost(2);
}

void Intake::get(rpc::GetRequest::Reader request) {
  add(Operation::Kind::GET, request.getState(), take(request.getKeys()), RequestBody(), nullptr);
  addCost(2);
}

void Intake::set(rpc::SetRequest::Reader request) {
  if (access != Access::WRITE) {
    operations.add(readOnly());
    return addCost(1);
  }
  auto keys = take(request.getKeys());
  add(Operation::Kind::SET, request.getState(), kj::mv(keys), take(request.getValues()),
      request.getId());
  addCost(TOO_MUCH);
}

void Intake::prove(rpc::ProveRequest::Reader request) {
  add(Operation::Kind::PROVE, request.getState(), take(request.getKeys()), RequestBody(), nullptr);
  addCost(TOO_MUCH);
}

kj::Maybe<Operation::Kind> Intake::operation(rpc::Operation::Reader operation) {
  switch (operation.which()) {
    case rpc::Operation::UNSET:
      addCost(1);
      operations.add(makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST,
                               "an operation that was left unset"));
      return nullptr;
    case rpc::Operation::INITIAL_STATE:
      initialState();
      return Operation::Kind::INITIAL_STATE;
    case rpc::Operation::HAS_STATE:
      hasState(operation.getHasState());
      return Operation::Kind::HAS_STATE;
    case rpc::Operation::GET_SINGLE_VALUE:
      getSingleValue(operation.getGetSingleValue());
      return Operation::Kind::GET_SINGLE_VALUE;
    case rpc::Operation::GET:
      get(operation.getGet());
      return Operation::Kind::GET;
    case rpc::Operation::SET:
      set(operation.getSet());
      return Operation::Kind::SET;
    case rpc::Operation::PROVE:
      prove(operation.getProve());
      return Operation::Kind::PROVE;
  }
  // One from a later version of the schema.
  addCost(1);
  operations.add(makeError(Code::UNIMPLEMENTED, Reason::UNSPECIFIED, "operation ",
                           uint32_t(operation.which()), " is not known here"));
  return nullptr;
}

void Intake::add(Operation::Kind kind, capnp::Data::Reader state, Result<RequestBody> keys,
                 Result<RequestBody> values, capnp::Data::Reader id) {
  auto root = parseState(state);
  auto setId = parseSetId(id);
  if (root.is<Error>()) {
    operations.add(kj::mv(root.get<Error>()));
  } else if (setId.is<Error>()) {
    operations.add(kj::mv(setId.get<Error>()));
  } else if (keys.is<Error>()) {
    operations.add(kj::mv(keys.get<Error>()));
  } else if (values.is<Error>()) {
    operations.add(kj::mv(values.get<Error>()));
  } else {
    operations.add(Operation{kind, root.get<RootHash>(), kj::mv(keys.get<RequestBody>()),
                             kj::mv(values.get<RequestBody>()),
                             kj::mv(setId.get<kj::Maybe<SetId>>())});
  }
}

Result<RequestBody> Intake::take(rpc::Bulk::Reader bulk) {
  auto located = rpc::locate(bulk, left);
  if (located.is<rpc::BadPayload>()) return toError(kj::mv(located.get<rpc::BadPayload>()));
  return take(kj::mv(located.get<rpc::BulkPlace>()));
}

Result<RequestBody> Intake::take(capnp::Data::Reader bytes) {
  if (bytes.size() > left) {
    return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a key of ", bytes.size(),
                     " bytes is over --max-request-size");
  }
  rpc::InlineChunks chunks;
  if (bytes.size() > 0) chunks.chunks = kj::heapArray<Bytes>({bytes});
  return take(rpc::BulkPlace{bytes.size(), kj::mv(chunks), nullptr});
}

Result<RequestBody> Intake::take(rpc::BulkPlace&& place) {
  uint64_t length = place.length;
  addCost(place.form.is<rpc::InlineChunks>() ? length / KEY_BYTES_PER_COST : TOO_MUCH);
  KJ_IF_MAYBE (table, place.form.tryGet<rpc::SpanTable>()) {
    if (table->table.length > left - length) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a payload of ", length,
                       " bytes and its table of ", table->table.length,
                       " bytes are over --max-request-size");
    }
    length += table->table.length;
  }
  KJ_IF_MAYBE (region, place.region) regions.add(kj::mv(*region));
  auto body = RequestBody::reserve(kj::mv(place), arenas, memory);
  if (body.is<RequestBody>()) left -= length;
  return body;
}

kj::Promise<void> Intake::copied() {
  kj::Vector<Bytes> from;
  kj::Vector<kj::ArrayPtr<kj::byte>> to;
  for (auto& each : operations) {
    KJ_IF_MAYBE (operation, each.tryGet<Operation>()) {
      operation->keys.addCopies(from, to);
      operation->values.addCopies(from, to);
    }
  }
  return rpc::copyInSlices(from.releaseAsArray(), to.releaseAsArray());
}

}  // namespace ledger::server
