// SPDX-License-Identifier: Apache-2.0
#pragma once
// What applications program against: a ledger in another process.
//
//   auto client = connect(network, timer, {.address = "/run/ledgerd.sock"}).wait(waitScope);
//   auto value = client->getSingleValue(state, key).wait(waitScope);   // Result<View>
//
// Answers are either what was asked for or an Error, the ledger's refusal (error.h). What is not an
// answer is an exception: DISCONNECTED (the server went away; the next call connects again),
// OVERLOADED (no answer in time), FAILED (a bug on either side, or a server that breaks its
// contract). blocking-client.h has the same operations for threads without an event loop.
//
// Where the server lets a client map its store, registers of a state that is read again and again
// are read there, with no call; the answers are the same.

#include "client/view.h"
#include "ledger/error.h"
#include "ledger/model.h"

#include <kj/async.h>
#include <kj/time.h>

#include <array>

namespace ledger::client {

class StateView;

// Names a Set, so that the server executes it once, however often it is sent.
using SetId = std::array<kj::byte, 16>;

// One operation of a batch. What its members point at must stay valid as for a call of its own.
struct Operation {
  struct InitialState {};
  struct HasState {
    RootHash state;
  };
  struct GetSingleValue {
    RootHash state;
    EncodedKey key;
  };
  struct Get {
    RootHash state;
    kj::ArrayPtr<const EncodedKey> keys;
  };
  struct Set {
    RootHash state;
    kj::ArrayPtr<const EncodedKey> keys;
    kj::ArrayPtr<const Value> values;
    kj::Maybe<SetId> id = nullptr;
  };
  struct Prove {
    RootHash state;
    kj::ArrayPtr<const EncodedKey> keys;
  };
  kj::OneOf<InitialState, HasState, GetSingleValue, Get, Set, Prove> what;
};

// RootHash: InitialState, Set. bool: HasState. View: GetSingleValue, Prove. Values: Get.
using OperationResult = kj::OneOf<Error, RootHash, bool, View, Values>;

enum class TransportKind { INLINE, SHARED_MEMORY };

// Bytes and counts that the server accepts: schema/ledger.capnp, Limits.
struct ServerLimits {
  uint64_t requestBytes, responseBytes, inlineThreshold, arenaBytes, messageWords;
  uint32_t regions, callsInFlight, batchOperations, registeredArenas;
};

struct ServerInfo {
  uint16_t version;  // Of the protocol.
  uint64_t features;
  TransportKind transport;
  kj::String build;
  ServerLimits limits;
  kj::Duration uptime;
  uint32_t sessions;

  // This session's reply arenas.
  struct {
    uint32_t arenas, regions;
    uint64_t committedBytes, lentBytes;
  } arenas;

  // schema/ledger.capnp, LedgerUse.
  struct Ledger {
    uint64_t states, nodes, leaves, values, nodeBytes, valueBytes, committedBytes, privateBytes,
        newestRegisters, newestBytes, memoryUsed, memoryLimit;
    uint32_t activeSegment;
  } ledger;

  // schema/ledger.capnp, LogUse.
  struct Log {
    enum class State { UNKNOWN, GOOD, REFUSED, FAILED } state;
    kj::String reason;
  } log;

  // schema/ledger.capnp, CheckpointUse.
  struct Checkpoints {
    kj::Maybe<uint64_t> newest, running;
    uint64_t doneBytes, totalBytes;
    kj::Duration elapsed;
    kj::String failure;
  } checkpoints;
};

// How registers were read with no call (direct-reads.h), and why some were not.
struct ReadCounts {
  uint64_t direct;     // Registers.
  uint64_t evicted;    // Reads, as the next two: the state is not there any more.
  uint64_t takenBack;  // The server needed the memory, or its connection was lost.
  uint64_t broken;     // What the server's store held made no sense.
};

// One of a server's sessions, as it was when the server looked: schema/ledger.capnp, SessionUse.
struct SessionInfo {
  enum class Transport { UNKNOWN, INLINE, SHARED_MEMORY, HAND_OVER };

  uint64_t id;
  bool isThis;  // The one that asked.
  kj::Maybe<uint32_t> user, process;
  kj::String client;  // What it calls itself: any text.
  bool mayWrite;
  Transport transport;
  kj::Duration age;
  uint32_t callsInFlight, regions, arenas, registeredArenas, pinnedStates;
  uint64_t lentBytes, committedBytes;
};

// All calls may be made side by side; dropping a promise cancels its call. What a parameter points
// at, and the client, must stay valid until the promise resolves or is dropped.
// Thread: the one whose event loop the client was made on. Views may go to other threads.
class LedgerClient {
public:
  virtual ~LedgerClient() noexcept(false) = default;

  // The empty ledger's state.
  virtual kj::Promise<Result<RootHash>> initialState() = 0;

  // Whether the state can be read now.
  virtual kj::Promise<Result<bool>> hasState(const RootHash& state) = 0;

  // One register; empty if it is not allocated.
  virtual kj::Promise<Result<View>> getSingleValue(const RootHash& state, EncodedKey key) = 0;

  // No keys: no values, whatever the state.
  virtual kj::Promise<Result<Values>> get(const RootHash& state,
                                          kj::ArrayPtr<const EncodedKey> keys) = 0;

  // Applies an update; the new state is durable once the promise resolves. As many values as keys
  // (else it throws at once). No keys: `state`. Null `id`: a random one.
  //
  // After DISCONNECTED or OVERLOADED the update may have been applied or not. Sending it again with
  // the same id is safe: a server that knows the id answers with the first one's result, and one
  // that was restarted since computes the same new state from the same parent.
  virtual kj::Promise<Result<RootHash>> set(const RootHash& state,
                                            kj::ArrayPtr<const EncodedKey> keys,
                                            kj::ArrayPtr<const Value> values,
                                            kj::Maybe<SetId> id = nullptr) = 0;

  // flow-go's encoded batch proof. Verify a copy() of it (ledger/proof/verify.h): the server can
  // still write the memory under a view, and change what was proven after it was checked.
  virtual kj::Promise<Result<View>> prove(const RootHash& state,
                                          kj::ArrayPtr<const EncodedKey> keys) = 0;

  // The states that can be read now, oldest first.
  virtual kj::Promise<Result<kj::Array<RootHash>>> states() = 0;
  virtual kj::Promise<Result<uint64_t>> stateCount() = 0;
  // 0 is the oldest, -1 the newest.
  virtual kj::Promise<Result<RootHash>> stateByIndex(int64_t index) = 0;

  // A state for any thread to read by itself, in the server's store. Errors: UNKNOWN_STATE, QUOTA,
  // OUT_OF_SHARED_MEMORY; UNIMPLEMENTED (the code) if the server does not let this client.
  virtual kj::Promise<Result<kj::Own<const StateView>>> openView(const RootHash& state) = 0;
  virtual ReadCounts readCounts() const = 0;

  virtual kj::Promise<Result<ServerInfo>> info() = 0;

  // Who is connected and holds what, the oldest first. For clients that may write.
  virtual kj::Promise<Result<kj::Array<SessionInfo>>> sessions() = 0;

  // Writes a checkpoint of all that was acknowledged by now, and gives its number once it is on
  // disk. May take long: no time limit holds for it. Dropping the promise ends the waiting, not the
  // writing.
  virtual kj::Promise<Result<uint64_t>> checkpoint() = 0;

  // Many operations in one round trip. They are independent of each other: none sees another's
  // effect for certain. Results in the operations' order. Error: nothing of the batch was done.
  virtual kj::Promise<Result<kj::Array<OperationResult>>> batch(
      kj::ArrayPtr<const Operation> operations) = 0;
};

}  // namespace ledger::client
