// SPDX-License-Identifier: Apache-2.0
#include "client/messages.h"

#include "client/packed-values.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

[[noreturn]] void failUnknownMember(uint32_t member) {
  KJ_FAIL_REQUIRE("the server's reply is empty, or of a kind that this client does not know",
                  member);
}

kj::Duration readMs(uint64_t ms) {
  return int64_t(kj::min(ms, uint64_t(INT64_MAX) / 1000000)) * kj::MILLISECONDS;
}

ServerInfo::Log::State readState(rpc::LogUse::State state) {
  switch (state) {
    case rpc::LogUse::State::UNSPECIFIED:
      return ServerInfo::Log::State::UNKNOWN;
    case rpc::LogUse::State::GOOD:
      return ServerInfo::Log::State::GOOD;
    case rpc::LogUse::State::REFUSED:
      return ServerInfo::Log::State::REFUSED;
    case rpc::LogUse::State::FAILED:
      return ServerInfo::Log::State::FAILED;
  }
  return ServerInfo::Log::State::UNKNOWN;
}

SessionInfo::Transport readTransport(rpc::SessionUse::Transport transport) {
  switch (transport) {
    case rpc::SessionUse::Transport::UNSPECIFIED:
      return SessionInfo::Transport::UNKNOWN;
    case rpc::SessionUse::Transport::INLINE:
      return SessionInfo::Transport::INLINE;
    case rpc::SessionUse::Transport::SHARED_MEMORY:
      return SessionInfo::Transport::SHARED_MEMORY;
    case rpc::SessionUse::Transport::HAND_OVER:
      return SessionInfo::Transport::HAND_OVER;
  }
  return SessionInfo::Transport::UNKNOWN;
}

ServerInfo::Checkpoints readCheckpoints(rpc::CheckpointUse::Reader use) {
  ServerInfo::Checkpoints result{.newest = nullptr,
                                 .running = nullptr,
                                 .doneBytes = use.getDoneBytes(),
                                 .totalBytes = use.getTotalBytes(),
                                 .elapsed = readMs(use.getElapsedMs()),
                                 .failure = kj::str(use.getFailure())};
  if (use.getHasNewest()) result.newest = use.getNewest();
  if (use.getIsRunning()) result.running = use.getRunning();
  return result;
}

Code toCode(rpc::Code code) {
  switch (code) {
    case rpc::Code::CANCELLED:
      return Code::CANCELLED;
    case rpc::Code::INVALID_ARGUMENT:
      return Code::INVALID_ARGUMENT;
    case rpc::Code::DEADLINE_EXCEEDED:
      return Code::DEADLINE_EXCEEDED;
    case rpc::Code::NOT_FOUND:
      return Code::NOT_FOUND;
    case rpc::Code::PERMISSION_DENIED:
      return Code::PERMISSION_DENIED;
    case rpc::Code::RESOURCE_EXHAUSTED:
      return Code::RESOURCE_EXHAUSTED;
    case rpc::Code::FAILED_PRECONDITION:
      return Code::FAILED_PRECONDITION;
    case rpc::Code::OUT_OF_RANGE:
      return Code::OUT_OF_RANGE;
    case rpc::Code::UNIMPLEMENTED:
      return Code::UNIMPLEMENTED;
    case rpc::Code::UNAVAILABLE:
      return Code::UNAVAILABLE;
    case rpc::Code::DATA_LOSS:
      return Code::DATA_LOSS;
    default:
      return Code::INTERNAL;  // Also those that the contract does not send.
  }
}

Reason toReason(rpc::Reason reason) {
  // The numbers are the same; what a later server adds is unspecified here.
  auto number = static_cast<uint16_t>(reason);
  return number <= static_cast<uint16_t>(Reason::BAD_ENCODING) ? static_cast<Reason>(number)
                                                               : Reason::UNSPECIFIED;
}

kj::Promise<Result<View>> receiveView(rpc::Bulk::Reader bulk, Transport& transport) {
  return transport.receive(bulk).then(
      [](Received received) -> Result<View> { return View(kj::mv(received)); });
}

kj::Maybe<Error> refuseItems(kj::StringPtr what, kj::ArrayPtr<const rpc::Bytes> items) {
  if (items.size() > UINT32_MAX) {
    return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, items.size(), " ", what,
                     "s do not fit into a request");
  }
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].size() > rpc::MAX_ITEM_BYTES) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, what, " ", i, " has ",
                       items[i].size(), " bytes; the limit is ", rpc::MAX_ITEM_BYTES);
    }
  }
  return nullptr;
}

RequestSize bulkOf(kj::ArrayPtr<const rpc::Bytes> items) {
  auto bytes = rpc::packedListSize(items);
  return {bytes, bytes + RootHash::SIZE};
}

}  // namespace

void fill(rpc::StateRequest::Builder request, const RootHash& state) {
  request.setState(state.ptr());
}

void fill(rpc::GetSingleValueRequest::Builder request, const RootHash& state, EncodedKey key) {
  request.setState(state.ptr());
  request.setKey(key);
}

void fill(rpc::GetRequest::Builder request, const RootHash& state,
          kj::ArrayPtr<const EncodedKey> keys, PayloadWriter& payloads) {
  request.setState(state.ptr());
  payloads.write(request.initKeys(), keys);
}

void fill(rpc::SetRequest::Builder request, const Operation::Set& set, PayloadWriter& payloads) {
  request.setState(set.state.ptr());
  payloads.write(request.initKeys(), set.keys);
  payloads.write(request.initValues(), set.values);
  KJ_IF_MAYBE (id, set.id) request.setId(kj::arrayPtr(id->data(), id->size()));
}

void fill(rpc::ProveRequest::Builder request, const RootHash& state,
          kj::ArrayPtr<const EncodedKey> keys, PayloadWriter& payloads) {
  request.setState(state.ptr());
  payloads.write(request.initKeys(), keys);
}

RequestSize sizeOf(const Operation& operation) {
  KJ_SWITCH_ONEOF(operation.what) {
    KJ_CASE_ONEOF(initial, Operation::InitialState) {
      return {};
    }
    KJ_CASE_ONEOF(has, Operation::HasState) {
      return {0, RootHash::SIZE};
    }
    KJ_CASE_ONEOF(single, Operation::GetSingleValue) {
      return {0, RootHash::SIZE + single.key.size()};
    }
    KJ_CASE_ONEOF(get, Operation::Get) {
      return bulkOf(get.keys);
    }
    KJ_CASE_ONEOF(set, Operation::Set) {
      auto keys = bulkOf(set.keys), values = bulkOf(set.values);
      return {keys.bulkBytes + values.bulkBytes, keys.bytes + values.bulkBytes};
    }
    KJ_CASE_ONEOF(prove, Operation::Prove) {
      return bulkOf(prove.keys);
    }
  }
  return {};
}

kj::Maybe<Error> refuse(const Operation& operation) {
  KJ_SWITCH_ONEOF(operation.what) {
    KJ_CASE_ONEOF(initial, Operation::InitialState) {
      return nullptr;
    }
    KJ_CASE_ONEOF(has, Operation::HasState) {
      return nullptr;
    }
    KJ_CASE_ONEOF(single, Operation::GetSingleValue) {
      return refuseItems("key", kj::arrayPtr(&single.key, 1));
    }
    KJ_CASE_ONEOF(get, Operation::Get) {
      return refuseItems("key", get.keys);
    }
    KJ_CASE_ONEOF(set, Operation::Set) {
      KJ_REQUIRE(set.keys.size() == set.values.size(), "a Set needs one value for each key");
      KJ_IF_MAYBE (error, refuseItems("key", set.keys)) return kj::mv(*error);
      return refuseItems("value", set.values);
    }
    KJ_CASE_ONEOF(prove, Operation::Prove) {
      return refuseItems("key", prove.keys);
    }
  }
  KJ_FAIL_REQUIRE("an operation without content");
}

Error readError(rpc::Error::Reader error) {
  return {toCode(error.getCode()), toReason(error.getReason()), kj::str(error.getMessage())};
}

RootHash readHash(capnp::Data::Reader bytes) {
  KJ_REQUIRE(bytes.size() == RootHash::SIZE, "the server sent a state of the wrong length",
             bytes.size());
  return RootHash::copyOf(bytes);
}

Result<RootHash> readState(rpc::StateReply::Reader reply) {
  switch (reply.which()) {
    case rpc::StateReply::STATE:
      return readHash(reply.getState());
    case rpc::StateReply::ERROR:
      return readError(reply.getError());
    default:
      failUnknownMember(reply.which());
  }
}

Result<bool> readFound(rpc::HasStateReply::Reader reply) {
  switch (reply.which()) {
    case rpc::HasStateReply::FOUND:
      return reply.getFound();
    case rpc::HasStateReply::ERROR:
      return readError(reply.getError());
    default:
      failUnknownMember(reply.which());
  }
}

Result<uint64_t> readCount(rpc::CountReply::Reader reply) {
  switch (reply.which()) {
    case rpc::CountReply::COUNT:
      return reply.getCount();
    case rpc::CountReply::ERROR:
      return readError(reply.getError());
    default:
      failUnknownMember(reply.which());
  }
}

Result<kj::Array<RootHash>> readStates(rpc::StatesReply::Reader reply) {
  switch (reply.which()) {
    case rpc::StatesReply::STATES:
      return KJ_MAP(state, reply.getStates()) {
        return readHash(state);
      };
    case rpc::StatesReply::ERROR:
      return readError(reply.getError());
    default:
      failUnknownMember(reply.which());
  }
}

ServerLimits readLimits(rpc::Limits::Reader limits) {
  return {
      .requestBytes = limits.getRequestBytes(),
      .responseBytes = limits.getResponseBytes(),
      .inlineThreshold = limits.getInlineThreshold(),
      .arenaBytes = limits.getArenaBytes(),
      .messageWords = limits.getMessageWords(),
      .regions = limits.getRegions(),
      .callsInFlight = limits.getCallsInFlight(),
      .batchOperations = limits.getBatchOperations(),
      .registeredArenas = limits.getRegisteredArenas(),
  };
}

Result<uint64_t> readCheckpoint(rpc::CheckpointReply::Reader reply) {
  if (reply.isError()) return readError(reply.getError());
  if (!reply.isNumber()) failUnknownMember(reply.which());
  return uint64_t(reply.getNumber());
}

Result<kj::Array<SessionInfo>> readSessions(rpc::SessionsReply::Reader reply) {
  if (reply.isError()) return readError(reply.getError());
  if (!reply.isSessions()) failUnknownMember(reply.which());
  return KJ_MAP(use, reply.getSessions()) {
    auto arenas = use.getArenas();
    SessionInfo session{.id = use.getId(),
                        .isThis = use.getIsThis(),
                        .user = nullptr,
                        .process = nullptr,
                        .client = kj::str(use.getClient()),
                        .mayWrite = use.getMayWrite(),
                        .transport = readTransport(use.getTransport()),
                        .age = readMs(use.getAgeMs()),
                        .callsInFlight = use.getCallsInFlight(),
                        .regions = arenas.getRegions(),
                        .arenas = arenas.getArenas(),
                        .registeredArenas = use.getRegisteredArenas(),
                        .pinnedStates = use.getPinnedStates(),
                        .lentBytes = arenas.getLentBytes(),
                        .committedBytes = arenas.getCommittedBytes()};
    if (use.getUser() != rpc::UNKNOWN_USER) session.user = use.getUser();
    if (use.getProcess() != 0) session.process = use.getProcess();
    return session;
  };
}

Result<ServerInfo> readInfo(rpc::InfoReply::Reader reply, TransportKind transport) {
  if (reply.isError()) return readError(reply.getError());
  if (!reply.isInfo()) failUnknownMember(reply.which());
  auto info = reply.getInfo();
  auto arenas = info.getArenas();
  auto ledger = info.getLedger();
  return ServerInfo{
      .version = info.getVersion(),
      .features = info.getFeatures(),
      .transport = transport,
      .build = kj::str(info.getBuild()),
      .limits = readLimits(info.getLimits()),
      .uptime = readMs(info.getUptimeMs()),
      .sessions = info.getSessions(),
      .arenas =
          {
              .arenas = arenas.getArenas(),
              .regions = arenas.getRegions(),
              .committedBytes = arenas.getCommittedBytes(),
              .lentBytes = arenas.getLentBytes(),
          },
      .ledger =
          {
              .states = ledger.getStates(),
              .nodes = ledger.getNodes(),
              .leaves = ledger.getLeaves(),
              .values = ledger.getValues(),
              .nodeBytes = ledger.getNodeBytes(),
              .valueBytes = ledger.getValueBytes(),
              .committedBytes = ledger.getCommittedBytes(),
              .privateBytes = ledger.getPrivateBytes(),
              .newestRegisters = ledger.getNewestRegisters(),
              .newestBytes = ledger.getNewestBytes(),
              .memoryUsed = ledger.getMemoryUsed(),
              .memoryLimit = ledger.getMemoryLimit(),
              .activeSegment = ledger.getActiveSegment(),
          },
      .log = {readState(ledger.getLog().getState()), kj::str(ledger.getLog().getReason())},
      .checkpoints = readCheckpoints(ledger.getCheckpoints()),
  };
}

kj::Promise<Result<View>> readValue(rpc::ValueReply::Reader reply, Transport& transport) {
  switch (reply.which()) {
    case rpc::ValueReply::VALUE:
      return receiveView(reply.getValue(), transport);
    case rpc::ValueReply::ERROR:
      return Result<View>(readError(reply.getError()));
    default:
      failUnknownMember(reply.which());
  }
}

kj::Promise<Result<View>> readProof(rpc::ProveReply::Reader reply, Transport& transport) {
  switch (reply.which()) {
    case rpc::ProveReply::PROOF:
      return receiveView(reply.getProof(), transport);
    case rpc::ProveReply::ERROR:
      return Result<View>(readError(reply.getError()));
    default:
      failUnknownMember(reply.which());
  }
}

kj::Promise<Result<Values>> readValues(rpc::GetReply::Reader reply, size_t count,
                                       Transport& transport) {
  switch (reply.which()) {
    case rpc::GetReply::VALUES:
      return transport.receive(reply.getValues())
          .then([count](Received received) -> Result<Values> {
            return readPackedValues(kj::mv(received), count);
          });
    case rpc::GetReply::ERROR:
      return Result<Values>(readError(reply.getError()));
    default:
      failUnknownMember(reply.which());
  }
}

}  // namespace ledger::client
