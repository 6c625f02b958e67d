// SPDX-License-Identifier: Apache-2.0
#pragma once
// The same operations for threads without an event loop: each call returns its answer or throws.
//
// The client runs a loop of its own on a thread of its own, and a call costs a hop there and back
// (some 12 us); reads that need no call do not go there. Callers that make very many calls want
// LedgerClient, on a loop of theirs.

#include "client/connect.h"
#include "client/ledger-client.h"

namespace ledger::client {

// Thread: const methods from any thread, side by side, except from a KJ event loop's: a call
// blocks.
class BlockingClient final {
public:
  // Connects. Throws as connect() does. `random` must outlive this and be usable on another thread.
  explicit BlockingClient(const ConnectOptions& options,
                          RandomSource& random = RandomSource::system());
  // Waits for the loop's thread to end. Calls must have returned; views may be held on.
  ~BlockingClient() noexcept(false);
  KJ_DISALLOW_COPY(BlockingClient);

  // As LedgerClient.
  Result<RootHash> initialState() const;
  Result<bool> hasState(const RootHash& state) const;
  Result<View> getSingleValue(const RootHash& state, EncodedKey key) const;
  Result<Values> get(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys) const;
  Result<RootHash> set(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                       kj::ArrayPtr<const Value> values, kj::Maybe<SetId> id = nullptr) const;
  Result<View> prove(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys) const;
  Result<kj::Array<RootHash>> states() const;
  Result<uint64_t> stateCount() const;
  Result<RootHash> stateByIndex(int64_t index) const;
  Result<kj::Own<const StateView>> openView(const RootHash& state) const;
  ReadCounts readCounts() const;
  Result<ServerInfo> info() const;
  Result<kj::Array<SessionInfo>> sessions() const;
  Result<uint64_t> checkpoint() const;
  Result<kj::Array<OperationResult>> batch(kj::ArrayPtr<const Operation> operations) const;

private:
  struct Loop;
  kj::Own<const DirectReads> reads;  // Of the loop's client: they need no hop.
  kj::Own<const Loop> loop;
};

}  // namespace ledger::client
