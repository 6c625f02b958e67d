// SPDX-License-Identifier: Apache-2.0
#include "client/session-client.h"

#include "client/batch.h"
#include "client/joined-reads.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

// Beside what the parameters take: the message's own envelope and segment table.
constexpr uint64_t ENVELOPE_WORDS = 1024;

Error requestTooLarge(uint64_t bytes, uint64_t limit) {
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a request of ", bytes,
                   " payload bytes is over the server's limit of ", limit);
}

}  // namespace

SessionClient::SessionClient(kj::Own<Connection> connection) : connection(kj::mv(connection)) {}

template <typename T, typename Request, typename Read>
kj::Promise<Result<T>> SessionClient::send(Request request, Read read) {
  // A longer message would end the connection.
  auto words = request.totalSize().wordCount + ENVELOPE_WORDS;
  if (words > connection->messageWords()) {
    return Result<T>(makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a request of ",
                               words * sizeof(capnp::word), " bytes is over the message limit of ",
                               connection->messageWords() * sizeof(capnp::word)));
  }
  return request.send().then([read = kj::mv(read)](auto reply) mutable {
    kj::Promise<Result<T>> result = read(reply);
    return result.attach(kj::mv(reply));
  });
}

template <typename T, typename Make, typename Read>
kj::Promise<Result<T>> SessionClient::exchange(const RequestSize& size, Make make, Read read) {
  auto& limits = connection->limits();
  if (size.bytes > limits.requestBytes) {
    return Result<T>(requestTooLarge(size.bytes, limits.requestBytes));
  }
  if (size.bulkBytes <= limits.inlineThreshold) {
    PayloadWriter payloads(nullptr);
    return send<T>(make(payloads), kj::mv(read));
  }
  return connection->transport()
      .reserve(size.bulkBytes)
      .then([this, make = kj::mv(make), read = kj::mv(read)](kj::Maybe<RequestRoom> room) mutable {
        PayloadWriter payloads(kj::mv(room));
        return send<T>(make(payloads), kj::mv(read));
      });
}

kj::Promise<Result<RootHash>> SessionClient::initialState() {
  return send<RootHash>(connection->session().initialStateRequest(), &readState);
}

kj::Promise<Result<bool>> SessionClient::hasState(const RootHash& state) {
  auto request = connection->session().hasStateRequest();
  fill(request, state);
  return send<bool>(kj::mv(request), &readFound);
}

void SessionClient::noteRead(const RootHash& state) {
  KJ_IF_MAYBE (views, connection->views()) views->missed(state);
}

kj::Promise<Result<kj::Own<const StateView>>> SessionClient::openView(const RootHash& state) {
  KJ_IF_MAYBE (views, connection->views()) return views->open(state);
  return Result<kj::Own<const StateView>>(
      makeError(Code::UNIMPLEMENTED, Reason::UNSPECIFIED,
                "the server does not let this client read its store"));
}

ReadCounts SessionClient::readCounts() const {
  return connection->directReads().counts();
}

kj::Promise<Result<View>> SessionClient::getSingleValue(const RootHash& state, EncodedKey key) {
  noteRead(state);
  Operation operation{Operation::GetSingleValue{state, key}};
  KJ_IF_MAYBE (error, refuse(operation)) return Result<View>(kj::mv(*error));
  return exchange<View>(
      sizeOf(operation),
      [this, state, key](PayloadWriter&) {
        auto request = connection->session().getSingleValueRequest();
        fill(request, state, key);
        return request;
      },
      [this](rpc::ValueReply::Reader reply) { return readValue(reply, connection->transport()); });
}

kj::Promise<Result<Values>> SessionClient::get(const RootHash& state,
                                               kj::ArrayPtr<const EncodedKey> keys) {
  noteRead(state);
  Operation operation{Operation::Get{state, keys}};
  KJ_IF_MAYBE (error, refuse(operation)) return Result<Values>(kj::mv(*error));
  return exchange<Values>(
      sizeOf(operation),
      [this, state, keys](PayloadWriter& payloads) {
        auto request = connection->session().getRequest();
        fill(request, state, keys, payloads);
        return request;
      },
      [this, count = keys.size()](rpc::GetReply::Reader reply) {
        return readValues(reply, count, connection->transport());
      });
}

kj::Promise<Result<RootHash>> SessionClient::set(const RootHash& state,
                                                 kj::ArrayPtr<const EncodedKey> keys,
                                                 kj::ArrayPtr<const Value> values,
                                                 kj::Maybe<SetId> id) {
  Operation::Set set{state, keys, values, id};
  Operation operation{set};
  KJ_IF_MAYBE (error, refuse(operation)) return Result<RootHash>(kj::mv(*error));
  return exchange<RootHash>(
      sizeOf(operation),
      [this, set](PayloadWriter& payloads) {
        auto request = connection->session().setRequest();
        fill(request, set, payloads);
        return request;
      },
      &readState);
}

kj::Promise<Result<View>> SessionClient::prove(const RootHash& state,
                                               kj::ArrayPtr<const EncodedKey> keys) {
  Operation operation{Operation::Prove{state, keys}};
  KJ_IF_MAYBE (error, refuse(operation)) return Result<View>(kj::mv(*error));
  return exchange<View>(
      sizeOf(operation),
      [this, state, keys](PayloadWriter& payloads) {
        auto request = connection->session().proveRequest();
        fill(request, state, keys, payloads);
        return request;
      },
      [this](rpc::ProveReply::Reader reply) { return readProof(reply, connection->transport()); });
}

kj::Promise<Result<kj::Array<RootHash>>> SessionClient::states() {
  return send<kj::Array<RootHash>>(connection->session().statesRequest(), &readStates);
}

kj::Promise<Result<uint64_t>> SessionClient::stateCount() {
  return send<uint64_t>(connection->session().stateCountRequest(), &readCount);
}

kj::Promise<Result<RootHash>> SessionClient::stateByIndex(int64_t index) {
  auto request = connection->session().stateByIndexRequest();
  request.setIndex(index);
  return send<RootHash>(kj::mv(request), &readState);
}

kj::Promise<Result<ServerInfo>> SessionClient::info() {
  return send<ServerInfo>(connection->session().infoRequest(),
                          [kind = connection->transport().kind()](rpc::InfoReply::Reader reply) {
                            return readInfo(reply, kind);
                          });
}

kj::Promise<Result<kj::Array<SessionInfo>>> SessionClient::sessions() {
  return send<kj::Array<SessionInfo>>(connection->session().sessionsRequest(), &readSessions);
}

kj::Promise<Result<uint64_t>> SessionClient::checkpoint() {
  return send<uint64_t>(connection->session().checkpointRequest(), readCheckpoint);
}

kj::Maybe<Error> SessionClient::refuseBatch(kj::ArrayPtr<const Operation> operations) const {
  auto most = connection->limits().batchOperations;
  if (operations.size() > most) {
    return makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a batch of ", operations.size(),
                     " operations is over the server's limit of ", most);
  }
  for (auto& operation : operations) {
    KJ_IF_MAYBE (error, refuse(operation)) return kj::mv(*error);
  }
  return nullptr;
}

kj::Promise<SessionClient::BatchResult> SessionClient::batch(
    kj::ArrayPtr<const Operation> operations) {
  KJ_IF_MAYBE (error, refuseBatch(operations)) return BatchResult(kj::mv(*error));
  auto reads = kj::heap<JoinedReads>(operations);
  auto sent = reads->joined();
  return sendBatch(sent).then(
      [this, reads = kj::mv(reads)](BatchResult results) mutable -> kj::Promise<BatchResult> {
        if (results.is<Error>()) return kj::mv(results);
        reads->answer(kj::mv(results.get<kj::Array<OperationResult>>()));
        auto refused = reads->refused();
        if (refused.size() == 0) return BatchResult(reads->results());
        return sendBatch(refused).then(
            [reads = kj::mv(reads)](BatchResult answers) mutable -> BatchResult {
              // If that was refused as a whole, what the Get was refused for stands.
              KJ_IF_MAYBE (each, answers.tryGet<kj::Array<OperationResult>>()) {
                reads->answerRefused(kj::mv(*each));
              }
              return reads->results();
            });
      });
}

kj::Promise<SessionClient::BatchResult> SessionClient::sendBatch(
    kj::ArrayPtr<const Operation> operations) {
  return exchange<kj::Array<OperationResult>>(
      sizeOf(operations),
      [this, operations](PayloadWriter& payloads) {
        auto request = connection->session().batchRequest();
        fill(request.initOperations(operations.size()), operations, payloads);
        return request;
      },
      [this, operations](rpc::BatchReply::Reader reply) {
        return readBatch(reply, operations, connection->transport());
      });
}

}  // namespace ledger::client
