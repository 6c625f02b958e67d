// SPDX-License-Identifier: Apache-2.0
#pragma once
// A client that outlives its connections: each call goes to the current session, with a time limit;
// when there is none any more, the call makes the next one first.

#include "client/connector.h"

namespace ledger::client {

// Thread: the event loop's.
class ReconnectingClient final : public LedgerClient {
public:
  // `reads`: those of the connector's connections. `clock`: see connect().
  ReconnectingClient(kj::Own<Connector> connector, kj::Own<const DirectReads> reads,
                     kj::Timer& timer, const kj::MonotonicClock& clock,
                     const ConnectOptions& options, RandomSource& random);

  kj::Promise<void> connect();

  kj::Promise<Result<RootHash>> initialState() override;
  kj::Promise<Result<bool>> hasState(const RootHash& state) override;
  kj::Promise<Result<View>> getSingleValue(const RootHash& state, EncodedKey key) override;
  kj::Promise<Result<Values>> get(const RootHash& state,
                                  kj::ArrayPtr<const EncodedKey> keys) override;
  kj::Promise<Result<RootHash>> set(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                                    kj::ArrayPtr<const Value> values, kj::Maybe<SetId> id) override;
  kj::Promise<Result<View>> prove(const RootHash& state,
                                  kj::ArrayPtr<const EncodedKey> keys) override;
  kj::Promise<Result<kj::Array<RootHash>>> states() override;
  kj::Promise<Result<uint64_t>> stateCount() override;
  kj::Promise<Result<RootHash>> stateByIndex(int64_t index) override;
  kj::Promise<Result<kj::Own<const StateView>>> openView(const RootHash& state) override;
  ReadCounts readCounts() const override;
  kj::Promise<Result<ServerInfo>> info() override;
  kj::Promise<Result<kj::Array<SessionInfo>>> sessions() override;
  kj::Promise<Result<uint64_t>> checkpoint() override;
  kj::Promise<Result<kj::Array<OperationResult>>> batch(
      kj::ArrayPtr<const Operation> operations) override;

private:
  // The current session, or the next one.
  kj::Promise<kj::Own<SessionClient>> session();

  // Runs `func` on a session: once, or twice if the first is lost and the options say so.
  template <typename Func>
  kj::PromiseForResult<Func, SessionClient&> call(kj::StringPtr name, Func func);
  // Likewise, however long it takes.
  template <typename Func>
  kj::PromiseForResult<Func, SessionClient&> callWithoutLimit(Func func);
  template <typename T, typename Func>
  kj::Promise<T> callOn(kj::Own<SessionClient> session, Func func);

  void adopt(kj::Own<SessionClient> made);

  // Lets go of a lost session, and of its socket and mappings. A call on `session` has found out
  // that it is lost, perhaps before the session itself has.
  void forget(const SessionClient& session);

  SetId drawSetId();

  kj::Own<Connector> connector;
  const kj::Own<const DirectReads> reads;
  kj::Timer& timer;
  const kj::MonotonicClock& clock;
  RandomSource& random;
  const kj::Duration callTimeout;
  const OnDisconnect onDisconnect;

  kj::Maybe<kj::Own<SessionClient>> current;
  kj::Promise<void> watching = nullptr;  // Until `current` is lost.
  kj::Maybe<kj::ForkedPromise<void>> connecting;
  bool isConnecting = false;
};

}  // namespace ledger::client
