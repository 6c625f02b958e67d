// SPDX-License-Identifier: Apache-2.0
#include "client/reconnecting-client.h"

#include <kj/debug.h>

namespace ledger::client {

ReconnectingClient::ReconnectingClient(kj::Own<Connector> connector,
                                       kj::Own<const DirectReads> reads, kj::Timer& timer,
                                       const kj::MonotonicClock& clock,
                                       const ConnectOptions& options, RandomSource& random)
    : connector(kj::mv(connector)),
      reads(kj::mv(reads)),
      timer(timer),
      clock(clock),
      random(random),
      callTimeout(options.callTimeout),
      onDisconnect(options.onDisconnect) {}

kj::Promise<void> ReconnectingClient::connect() {
  return session().ignoreResult();
}

kj::Promise<kj::Own<SessionClient>> ReconnectingClient::session() {
  KJ_IF_MAYBE (live, current) {
    if (!(*live)->isLost()) return kj::addRef(**live);
    current = nullptr;
  }
  if (!isConnecting) {
    isConnecting = true;
    connecting = connector->connect()
                     .then([this](kj::Own<SessionClient> made) { adopt(kj::mv(made)); },
                           [this](kj::Exception&& exception) {
                             isConnecting = false;
                             kj::throwFatalException(kj::mv(exception));
                           })
                     .fork();
  }
  return KJ_ASSERT_NONNULL(connecting).addBranch().then([this]() {
    KJ_IF_MAYBE (made, current) return kj::addRef(**made);
    kj::throwFatalException(
        kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                      kj::str("the ledger's connection was lost as soon as it was made")));
  });
}

void ReconnectingClient::adopt(kj::Own<SessionClient> made) {
  isConnecting = false;
  watching = made->onLost()
                 .then([this, &made = *made]() { forget(made); })
                 // Its session was forgotten and is gone.
                 .eagerlyEvaluate([](kj::Exception&&) {});
  current = kj::mv(made);
}

template <typename T, typename Func>
kj::Promise<T> ReconnectingClient::callOn(kj::Own<SessionClient> session, Func func) {
  auto& used = *session;
  auto answer = func(used).catch_([this, &used](kj::Exception&& exception) -> kj::Promise<T> {
    if (exception.getType() == kj::Exception::Type::DISCONNECTED) forget(used);
    return kj::mv(exception);
  });
  return answer.attach(kj::mv(session));
}

void ReconnectingClient::forget(const SessionClient& session) {
  KJ_IF_MAYBE (live, current) {
    if (live->get() == &session) current = nullptr;
  }
}

template <typename Func>
kj::PromiseForResult<Func, SessionClient&> ReconnectingClient::callWithoutLimit(Func func) {
  using T = kj::_::UnwrapPromise<kj::PromiseForResult<Func, SessionClient&>>;
  return session().then([this, func](kj::Own<SessionClient> first) {
    auto answer = callOn<T>(kj::mv(first), func);
    if (onDisconnect == OnDisconnect::FAIL) return answer;
    return answer.catch_([this, func](kj::Exception&& exception) -> kj::Promise<T> {
      if (exception.getType() != kj::Exception::Type::DISCONNECTED) return kj::mv(exception);
      return session().then(
          [this, func](kj::Own<SessionClient> second) { return callOn<T>(kj::mv(second), func); });
    });
  });
}

template <typename Func>
kj::PromiseForResult<Func, SessionClient&> ReconnectingClient::call(kj::StringPtr name, Func func) {
  using T = kj::_::UnwrapPromise<kj::PromiseForResult<Func, SessionClient&>>;
  auto late = timer.atTime(clock.now() + callTimeout).then([this, name]() -> kj::Promise<T> {
    return kj::Exception(kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
                         kj::str("no answer from the ledger to ", name, " within ",
                                 callTimeout / kj::MILLISECONDS, " ms"));
  });
  return callWithoutLimit(kj::mv(func)).exclusiveJoin(kj::mv(late));
}

SetId ReconnectingClient::drawSetId() {
  SetId id;
  random.fill(kj::arrayPtr(id.data(), id.size()));
  return id;
}

kj::Promise<Result<RootHash>> ReconnectingClient::initialState() {
  return call("initialState", [](SessionClient& session) { return session.initialState(); });
}

kj::Promise<Result<bool>> ReconnectingClient::hasState(const RootHash& state) {
  return call("hasState", [state](SessionClient& session) { return session.hasState(state); });
}

kj::Promise<Result<View>> ReconnectingClient::getSingleValue(const RootHash& state,
                                                             EncodedKey key) {
  KJ_IF_MAYBE (value, reads->getSingleValue(state, key)) return Result<View>(kj::mv(*value));
  return call("getSingleValue",
              [state, key](SessionClient& session) { return session.getSingleValue(state, key); });
}

kj::Promise<Result<Values>> ReconnectingClient::get(const RootHash& state,
                                                    kj::ArrayPtr<const EncodedKey> keys) {
  KJ_IF_MAYBE (values, reads->get(state, keys)) return Result<Values>(kj::mv(*values));
  return call("get", [state, keys](SessionClient& session) { return session.get(state, keys); });
}

kj::Promise<Result<RootHash>> ReconnectingClient::set(const RootHash& state,
                                                      kj::ArrayPtr<const EncodedKey> keys,
                                                      kj::ArrayPtr<const Value> values,
                                                      kj::Maybe<SetId> id) {
  KJ_REQUIRE(keys.size() == values.size(), "a Set needs one value for each key", keys.size(),
             values.size());
  // One id for the call, however often it is sent.
  SetId sure = id.orDefault([this]() { return drawSetId(); });
  return call("set", [state, keys, values, sure](SessionClient& session) {
    return session.set(state, keys, values, sure);
  });
}

kj::Promise<Result<View>> ReconnectingClient::prove(const RootHash& state,
                                                    kj::ArrayPtr<const EncodedKey> keys) {
  return call("prove",
              [state, keys](SessionClient& session) { return session.prove(state, keys); });
}

kj::Promise<Result<kj::Own<const StateView>>> ReconnectingClient::openView(const RootHash& state) {
  return call("openView", [state](SessionClient& session) { return session.openView(state); });
}

ReadCounts ReconnectingClient::readCounts() const {
  return reads->counts();
}

kj::Promise<Result<kj::Array<RootHash>>> ReconnectingClient::states() {
  return call("states", [](SessionClient& session) { return session.states(); });
}

kj::Promise<Result<uint64_t>> ReconnectingClient::stateCount() {
  return call("stateCount", [](SessionClient& session) { return session.stateCount(); });
}

kj::Promise<Result<RootHash>> ReconnectingClient::stateByIndex(int64_t index) {
  return call("stateByIndex",
              [index](SessionClient& session) { return session.stateByIndex(index); });
}

kj::Promise<Result<ServerInfo>> ReconnectingClient::info() {
  return call("info", [](SessionClient& session) { return session.info(); });
}

kj::Promise<Result<kj::Array<SessionInfo>>> ReconnectingClient::sessions() {
  return call("sessions", [](SessionClient& session) { return session.sessions(); });
}

kj::Promise<Result<uint64_t>> ReconnectingClient::checkpoint() {
  return callWithoutLimit([](SessionClient& session) { return session.checkpoint(); });
}

kj::Promise<Result<kj::Array<OperationResult>>> ReconnectingClient::batch(
    kj::ArrayPtr<const Operation> operations) {
  auto sure = kj::heapArray(operations);
  for (auto& operation : sure) {
    KJ_IF_MAYBE (set, operation.what.tryGet<Operation::Set>()) {
      KJ_REQUIRE(set->keys.size() == set->values.size(), "a Set needs one value for each key");
      if (set->id == nullptr) set->id = drawSetId();
    }
  }
  auto view = sure.asPtr().asConst();
  return call("batch", [view](SessionClient& session) { return session.batch(view); })
      .attach(kj::mv(sure));
}

}  // namespace ledger::client
