// SPDX-License-Identifier: Apache-2.0
#pragma once
// The operations over one connection, for as long as it lasts. connect.h makes of it a client that
// outlives its connections.

#include "client/connection.h"
#include "client/ledger-client.h"
#include "client/messages.h"

#include <kj/refcount.h>

namespace ledger::client {

// A Set without an id is sent without one. Every read is a call: who may read directly has tried
// that before (DirectReads).
class SessionClient final : public LedgerClient, public kj::Refcounted {
public:
  explicit SessionClient(kj::Own<Connection> connection);

  bool isLost() const { return connection->isLost(); }
  kj::Promise<void> onLost() { return connection->onLost(); }  // See Connection.

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
  // A read of `state` comes here.
  void noteRead(const RootHash& state);

  using BatchResult = Result<kj::Array<OperationResult>>;

  kj::Maybe<Error> refuseBatch(kj::ArrayPtr<const Operation> operations) const;
  kj::Promise<BatchResult> sendBatch(kj::ArrayPtr<const Operation> operations);

  // Room for payloads, then `make`: a request, filled with the payloads' help. Null: inline.
  template <typename T, typename Make, typename Read>
  kj::Promise<Result<T>> exchange(const RequestSize& size, Make make, Read read);

  // Sends a request unless it is too long for a message. `read` makes the result of the reply.
  template <typename T, typename Request, typename Read>
  kj::Promise<Result<T>> send(Request request, Read read);

  kj::Own<Connection> connection;
};

}  // namespace ledger::client
