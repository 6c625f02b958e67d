// SPDX-License-Identifier: Apache-2.0
#include "server/grpc-operations.h"

#include "ledger/path-finder.h"
#include "ledger/trie-update-cbor.h"
#include "schema/proto-wire.h"
#include "server/rpc-errors.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

using Bytes = kj::ArrayPtr<const kj::byte>;
using rpc::bytesFieldSize;
using rpc::ProtoWriter;

constexpr kj::StringPtr LEDGER_SERVICE = "ledger.LedgerService"_kj;
constexpr kj::StringPtr HEALTH_SERVICE = "grpc.health.v1.Health"_kj;

// A longer key takes as long to hash as a call to a worker does.
constexpr uint64_t SMALL_REQUEST = 2048;

// How far a proof is planned that is too long, to tell its length as flow-go does. Of one that is
// longer yet nothing else is told.
uint64_t longestTold(const ServiceLimits& limits) {
  return kj::max(4 * limits.responseBytes, uint64_t(64) << 20);
}

// --- Replies --------------------------------------------------------------------------------

// The lengths of messages' fields.
constexpr uint64_t STATE_LENGTH = 2 + RootHash::SIZE;  // State: tag, length, hash.

uint64_t valueLength(Value value) { return value.size() == 0 ? 0 : bytesFieldSize(value.size()); }

void writeState(ProtoWriter& writer, uint32_t number, const RootHash& state) {
  writer.bytesHead(number, STATE_LENGTH);
  writer.bytes(1, state.ptr());
}

void writeValue(ProtoWriter& writer, uint32_t number, Value value) {
  writer.bytesHead(number, valueLength(value));
  if (value.size() > 0) writer.bytes(1, value);
}

Error tooLong(kj::StringPtr length, const ServiceLimits& limits) {
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE,
                   "grpc: trying to send message larger than max (", length, " vs. ",
                   limits.responseBytes, ")");
}

// Memory for a reply of `length` bytes.
Result<GrpcReply> newReply(const Host& host, uint64_t length) {
  if (length > host.limits.responseBytes) return tooLong(kj::str(length), host.limits);
  auto reserved = host.grpcReplies.reserve(length);
  if (reserved.is<shm::Shortage>()) return outOfMemory(reserved.get<shm::Shortage>());
  return GrpcReply{kj::mv(reserved.get<shm::Reservation>()), kj::heapArray<kj::byte>(length)};
}

// A reply of `length` bytes that write(ProtoWriter&) fills.
template <typename Write>
Result<GrpcReply> reply(const Host& host, uint64_t length, Write&& write) {
  auto made = newReply(host, length);
  KJ_IF_MAYBE (reply, made.template tryGet<GrpcReply>()) {
    ProtoWriter writer(reply->bytes);
    write(writer);
    KJ_ASSERT(writer.remaining() == 0, "a reply is shorter than its computed size");
  }
  return made;
}

// --- Operations -----------------------------------------------------------------------------

// flow-go has one code for what its ledger refuses.
Error refusedByLedger(Error error) {
  if (error.reason == Reason::UNKNOWN_STATE) error.code = Code::INTERNAL;
  return error;
}

Result<GrpcReply> initialState(const Host& host) {
  return reply(host, bytesFieldSize(STATE_LENGTH), [&](ProtoWriter& writer) {
    writeState(writer, 1, host.ledger.initialState());
  });
}

Result<GrpcReply> hasState(const Host& host, const GrpcRequest& request) {
  const bool has = host.ledger.hasState(request.state);
  return reply(host, has ? 2 : 0, [&](ProtoWriter& writer) {
    if (has) writer.varint(1, 1);
  });
}

Result<GrpcReply> getSingleValue(const Host& host, const GrpcRequest& request) {
  auto pinned = host.ledger.pin(request.state);
  if (pinned.is<Error>()) return refusedByLedger(kj::mv(pinned.get<Error>()));
  auto found =
      host.ledger.readSingleValue(*pinned.get<kj::Own<const Trie>>(), request.keys[0]);
  if (found.is<Error>()) return kj::mv(found.get<Error>());
  const Value value = found.get<Value>();
  return reply(host, bytesFieldSize(valueLength(value)),
               [&](ProtoWriter& writer) { writeValue(writer, 1, value); });
}

Result<GrpcReply> get(const Host& host, const GrpcRequest& request, const Stop& stop) {
  auto found = host.ledger.get(request.state, request.keys, stop);
  if (found.is<Error>()) return refusedByLedger(kj::mv(found.get<Error>()));
  auto& values = found.get<Values>().values;
  uint64_t length = 0;
  for (auto& value : values) length += bytesFieldSize(valueLength(value));
  return reply(host, length, [&](ProtoWriter& writer) {
    for (auto& value : values) writeValue(writer, 1, value);
  });
}

Result<GrpcReply> prove(const Host& host, const GrpcRequest& request, const Stop& stop) {
  const uint64_t most = longestTold(host.limits);
  auto planned = host.ledger.prove(request.state, request.keys, stop, most);
  KJ_IF_MAYBE (error, planned.tryGet<Error>()) {
    if (error->reason == Reason::TOO_LARGE) return tooLong(kj::str("over ", most), host.limits);
    return refusedByLedger(kj::mv(*error));
  }
  auto& proof = planned.get<BatchProof>();
  const uint64_t length = proof.encodedSize();
  return reply(host, bytesFieldSize(length), [&](ProtoWriter& writer) {
    writer.bytesHead(1, length);
    proof.encode(writer.reserve(length));
  });
}

// The reply repeats the request. It is sized, and its memory taken, before the Set: what has been
// applied is answered.
Result<GrpcReply> set(const Host& host, const GrpcRequest& request, const Stop& stop) {
  // Said first, as flow-go does; of a state that is evicted only now, the Set itself will say so.
  auto pinned = host.ledger.pin(request.state);
  KJ_IF_MAYBE (error, pinned.tryGet<Error>()) {
    error->message = kj::str("cannot update state: ", error->message);
    return refusedByLedger(kj::mv(*error));
  }

  const size_t count = request.keys.size();
  auto reserved = host.memory.reserve(count * (sizeof(Path) + sizeof(ledger::Payload)));
  if (reserved.is<shm::Shortage>()) return outOfMemory(reserved.get<shm::Shortage>());
  auto paths = kj::heapArray<Path>(count);
  pathsOf(request.keys, paths);
  auto payloads = kj::heapArray<ledger::Payload>(count);
  for (size_t i = 0; i < count; ++i) payloads[i] = {request.keys[i], request.values[i]};
  const TrieUpdate update{request.state, paths, payloads};

  auto sized = cborSize(update);
  if (sized.is<Error>()) return kj::mv(sized.get<Error>());
  const uint64_t length = sized.get<uint64_t>();
  auto made = newReply(host, bytesFieldSize(STATE_LENGTH) + bytesFieldSize(length));
  KJ_IF_MAYBE (reply, made.tryGet<GrpcReply>()) {
    auto applied = host.ledger.set(request.state, request.keys, request.values, nullptr, stop);
    if (applied.is<Error>()) return refusedByLedger(kj::mv(applied.get<Error>()));
    logUpdate(request.state, applied.get<RootHash>(), count);
    ProtoWriter writer(reply->bytes);
    writeState(writer, 1, applied.get<RootHash>());
    writer.bytesHead(2, length);
    encodeCbor(update, writer.reserve(length));
  }
  return made;
}

// grpc.health.v1.Health/Check.
Result<GrpcReply> checkHealth(const Host& host, Bytes request) {
  auto health = healthOf(host, request);
  if (health.is<Error>()) return kj::mv(health.get<Error>());
  if (health.get<GrpcHealth>() == GrpcHealth::SERVICE_UNKNOWN) {
    return makeError(Code::NOT_FOUND, Reason::BAD_REQUEST, "unknown service");
  }
  return healthReply(host, health.get<GrpcHealth>());
}

Operation::Kind kindOf(GrpcMethod method) {
  switch (method) {
    case GrpcMethod::INITIAL_STATE:
      return Operation::Kind::INITIAL_STATE;
    case GrpcMethod::HAS_STATE:
      return Operation::Kind::HAS_STATE;
    case GrpcMethod::GET_SINGLE_VALUE:
      return Operation::Kind::GET_SINGLE_VALUE;
    case GrpcMethod::GET:
      return Operation::Kind::GET;
    case GrpcMethod::SET:
      return Operation::Kind::SET;
    case GrpcMethod::PROVE:
      return Operation::Kind::PROVE;
    case GrpcMethod::HEALTH_CHECK:
    case GrpcMethod::HEALTH_WATCH:
      break;
  }
  KJ_UNREACHABLE;
}

Result<GrpcReply> execute(const Host& host, GrpcMethod method, Bytes message, const Stop& stop) {
  if (stop.requested()) return callCancelled();
  if (method == GrpcMethod::INITIAL_STATE) {
    KJ_IF_MAYBE (error, checkGrpcMessage(message)) return kj::mv(*error);
    return initialState(host);
  }

  auto parsed = parseGrpcRequest(method, message, host.memory);
  if (parsed.is<Error>()) return kj::mv(parsed.get<Error>());
  const auto& request = parsed.get<GrpcRequest>();
  switch (method) {
    case GrpcMethod::HAS_STATE:
      return hasState(host, request);
    case GrpcMethod::GET_SINGLE_VALUE:
      return getSingleValue(host, request);
    case GrpcMethod::GET:
      return get(host, request, stop);
    case GrpcMethod::SET:
      return set(host, request, stop);
    case GrpcMethod::PROVE:
      return prove(host, request, stop);
    case GrpcMethod::INITIAL_STATE:
    case GrpcMethod::HEALTH_CHECK:
    case GrpcMethod::HEALTH_WATCH:
      break;
  }
  KJ_UNREACHABLE;
}

}  // namespace

Result<GrpcMethod> findGrpcMethod(kj::StringPtr path) {
  auto unimplemented = [](kj::String text) {
    return Error{Code::UNIMPLEMENTED, Reason::UNSPECIFIED, kj::mv(text)};
  };
  auto name = path.startsWith("/") ? path.slice(1) : path;
  size_t slash = 0;
  KJ_IF_MAYBE (last, name.findLast('/')) {
    slash = *last;
  } else {
    return unimplemented(kj::str("malformed method name: \"", path, "\""));
  }
  const auto service = kj::str(name.slice(0, slash));
  const auto method = name.slice(slash + 1);

  static constexpr struct {
    kj::StringPtr service, name;
    GrpcMethod method;
  } METHODS[] = {
      {LEDGER_SERVICE, "InitialState"_kj, GrpcMethod::INITIAL_STATE},
      {LEDGER_SERVICE, "HasState"_kj, GrpcMethod::HAS_STATE},
      {LEDGER_SERVICE, "GetSingleValue"_kj, GrpcMethod::GET_SINGLE_VALUE},
      {LEDGER_SERVICE, "Get"_kj, GrpcMethod::GET},
      {LEDGER_SERVICE, "Set"_kj, GrpcMethod::SET},
      {LEDGER_SERVICE, "Prove"_kj, GrpcMethod::PROVE},
      {HEALTH_SERVICE, "Check"_kj, GrpcMethod::HEALTH_CHECK},
      {HEALTH_SERVICE, "Watch"_kj, GrpcMethod::HEALTH_WATCH},
  };
  bool knownService = false;
  for (auto& each : METHODS) {
    if (each.service != service) continue;
    if (each.name == method) return each.method;
    knownService = true;
  }
  if (!knownService) return unimplemented(kj::str("unknown service ", service));
  return unimplemented(kj::str("unknown method ", method, " for service ", service));
}

Result<GrpcHealth> healthOf(const Host& host, Bytes request) {
  auto asked = parseHealthCheck(request);
  if (asked.is<Error>()) return kj::mv(asked.get<Error>());
  const Bytes service = asked.get<Bytes>();
  const bool known = service.size() == 0 || service == LEDGER_SERVICE.asBytes() ||
                     service == HEALTH_SERVICE.asBytes();
  if (!known) return GrpcHealth::SERVICE_UNKNOWN;
  return host.shuttingDown.load(std::memory_order_relaxed) ? GrpcHealth::NOT_SERVING
                                                           : GrpcHealth::SERVING;
}

Result<GrpcReply> healthReply(const Host& host, GrpcHealth health) {
  return reply(host, 2, [&](ProtoWriter& writer) { writer.varint(1, uint64_t(health)); });
}

bool isSmallGrpcCall(GrpcMethod method, uint64_t requestBytes) {
  switch (method) {
    case GrpcMethod::INITIAL_STATE:
    case GrpcMethod::HAS_STATE:
    case GrpcMethod::GET_SINGLE_VALUE:
    case GrpcMethod::HEALTH_CHECK:
    case GrpcMethod::HEALTH_WATCH:
      return requestBytes <= SMALL_REQUEST;
    case GrpcMethod::GET:  // A short one may ask for much, and often for the same.
    case GrpcMethod::SET:
    case GrpcMethod::PROVE:
      return false;
  }
  KJ_UNREACHABLE;
}

kj::Maybe<Error> checkGrpcRequestSize(uint64_t requestBytes, const ServiceLimits& limits) {
  if (requestBytes <= limits.requestBytes) return nullptr;
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE,
                   "grpc: received message larger than max (", requestBytes, " vs. ",
                   limits.requestBytes, ")");
}

Result<GrpcReply> answerGrpcCall(const Host& host, GrpcMethod method, Bytes message,
                                 const Stop& stop) {
  if (method == GrpcMethod::HEALTH_CHECK) return checkHealth(host, message);
  const Stopwatch watch;
  auto answered = execute(host, method, message, stop);
  const auto kind = kindOf(method);
  host.calls.add(CallMeters::Face::GRPC, kind, watch.elapsed());
  KJ_IF_MAYBE (error, answered.tryGet<Error>()) {
    host.calls.addError(CallMeters::Face::GRPC, kind, error->code);
  }
  return answered;
}

}  // namespace ledger::server
