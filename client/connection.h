// SPDX-License-Identifier: Apache-2.0
#pragma once
// One connection to a server: the socket, the handshake, and the session that came of it.
//
// A connection is lost once and for good; connect.h makes the next one.

#include "client/direct-reads.h"
#include "client/transport.h"
#include "client/view-opener.h"
#include "schema/ledger.capnp.h"
#include "schema/message-stream.h"

#include <capnp/rpc-twoparty.h>
#include <kj/async-io.h>
#include <kj/refcount.h>
#include <kj/timer.h>

namespace ledger::client {

enum class TransportChoice {
  AUTO,  // Shared memory if the server grants it.
  SHM,   // Shared memory, or no connection.
  INLINE,
};

struct ConnectionOptions {
  // Of the program, for the server's log. Empty: its own.
  kj::StringPtr name = nullptr;
  TransportChoice transport = TransportChoice::AUTO;

  // Large values may be read where they lie in the server's store, with no copy, if the server lets
  // this user: their views hold only while they are intact (view.h).
  bool storeViews = false;

  // Registers may be read in the server's store, with no call, if the server lets this user.
  bool directReads = true;

  // Where views of states are kept for that. Null: the connection has its own. It holds on to
  // them.
  kj::Maybe<const DirectReads&> reads = nullptr;

  // The most payload bytes of a request or a reply. It also bounds the messages that we take.
  uint64_t maxPayloadBytes = uint64_t(1) << 30;

  // A server's arena that no view uses stays mapped for this long.
  kj::Duration mappingIdle = 5 * kj::SECONDS;

  // Memory for requests that are too large to go inline: in flight, and kept for the next ones.
  uint64_t requestArenaBytes = uint64_t(4) << 30;
  uint64_t idleRequestArenaBytes = uint64_t(256) << 20;
};

// `options.reads`, or new ones.
kj::Own<const DirectReads> directReadsOf(const ConnectionOptions& options);

// Thread: the event loop's that it was made on.
class Connection final {
public:
  // Shakes hands over a connected Unix socket. Error: the server refused, or has no shared memory
  // to offer where it was asked for. Throws if the connection is lost or the server makes no sense.
  static kj::Promise<Result<kj::Own<Connection>>> open(kj::Own<kj::AsyncCapabilityStream> stream,
                                                       kj::Timer& timer,
                                                       const ConnectionOptions& options);

  rpc::Session::Client& session() { return KJ_ASSERT_NONNULL(agreed).session; }
  Transport& transport() { return *KJ_ASSERT_NONNULL(agreed).transport; }
  const DirectReads& directReads() const { return *reads; }
  // Null: the server does not let us, or has not said so yet.
  kj::Maybe<ViewOpener&> views() {
    KJ_IF_MAYBE (both, agreed) {
      KJ_IF_MAYBE (opener, both->views) return **opener;
    }
    return nullptr;
  }
  const ServerLimits& limits() const { return KJ_ASSERT_NONNULL(agreed).limits; }

  // The longest message that both sides take, in words.
  uint64_t messageWords() const { return kj::min(ownMessageWords, limits().messageWords); }

  bool isLost() const { return lost; }
  // Resolves once isLost(), when this may be destroyed. To be called once.
  kj::Promise<void> onLost() { return kj::mv(whenLost.promise); }

  Connection(kj::Own<kj::AsyncCapabilityStream> stream,
             const ConnectionOptions& options);  // Use open().
  KJ_DISALLOW_COPY(Connection);

private:
  // What the handshake brought.
  struct Agreed {
    rpc::Session::Client session;
    ServerLimits limits;
    kj::Own<Transport> transport;
    kj::Maybe<kj::Own<ViewOpener>> views;  // Uses the transport.
  };

  kj::Promise<kj::Maybe<Error>> shakeHands(kj::Timer& timer, const ConnectionOptions& options);
  void noteLoss();
  kj::Maybe<Error> agree(rpc::Welcome::Reader welcome, kj::Timer& timer,
                         const ConnectionOptions& options);

  // Torn down from the bottom up: capabilities before the connection that they live on.
  const kj::Own<const DirectReads> reads;
  const uint64_t ownMessageWords;  // Cap'n Proto has one limit for both directions.
  kj::Own<kj::AsyncCapabilityStream> stream;
  rpc::BufferedMessageStream messages;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> rpcSystem;
  kj::Maybe<Agreed> agreed;
  bool lost = false;
  kj::PromiseFulfillerPair<void> whenLost = kj::newPromiseAndFulfiller<void>();
  kj::Promise<void> watch;
};

}  // namespace ledger::client
