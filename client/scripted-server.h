// SPDX-License-Identifier: Apache-2.0
#pragma once
// A server in the test's own process. It has no ledger: it answers by rule, in the form that the
// script asks for, and as wrongly as the script says. It notes what reached it.

#include "ledger/model.h"
#include "schema/bulk.h"
#include "schema/ledger.capnp.h"
#include "shm/memfd.h"
#include "shm/peer-arena.h"

#include <kj/async-io.h>
#include <kj/function.h>
#include <kj/vector.h>

#include <unordered_map>

namespace ledger::client {

struct Script {
  enum class Form { INLINE, CHUNKS, SPAN, TABLE };

  // How the server is.
  uint64_t features = rpc::FEATURE_SHARED_MEMORY | rpc::FEATURE_TABLES;
  uint64_t requestBytes = uint64_t(1) << 30;
  uint64_t inlineThreshold = 1024;
  uint64_t messageWords = uint64_t(1) << 23;
  uint32_t registeredArenas = 4;
  uint16_t version = rpc::PROTOCOL_VERSION;

  // How it answers.
  Form form = Form::SPAN;
  bool shakesHands = true;          // False: the handshake hangs.
  bool answers = true;              // False: calls hang.
  bool takesArenas = true;          // False: registerArena is refused.
  uint32_t handshakesToRefuse = 0;  // With Code `refusal`.
  rpc::Code refusal = rpc::Code::UNAVAILABLE;
  kj::Maybe<rpc::Reason> error;  // All calls are refused.

  // The last word on a reply.
  kj::Function<void(rpc::Bulk::Builder)> spoilBulk = [](rpc::Bulk::Builder) {};
  kj::Function<void(rpc::OpenArenaReply::Builder)> spoilArena = [](rpc::OpenArenaReply::Builder) {};
  kj::Function<void(rpc::StateReply::Builder)> spoilState = [](rpc::StateReply::Builder) {};
  kj::Function<void(rpc::BatchReply::Builder)> spoilBatch = [](rpc::BatchReply::Builder) {};

  // Of the tables that the last session has sent.
  kj::Function<void()> endLease = []() {};

  // What reached it.
  struct {
    uint32_t sessions = 0, calls = 0, arenasOpened = 0, arenasRegistered = 0, registrationsHeld = 0,
             regionsHeld = 0, requestsInArenas = 0;
    kj::Vector<kj::Array<kj::byte>> setIds;
    kj::Vector<kj::Array<kj::byte>> keys, values;  // Of the last request that had any.
    kj::String clientName;
    uint64_t clientFeatures = 0;
  } seen;
};

// --- The rules.

// The key twice; empty for "absent".
kj::Array<kj::byte> valueOf(EncodedKey key);
// The keys, back to back.
kj::Array<kj::byte> proofOf(kj::ArrayPtr<const EncodedKey> keys);
// Of the initial state the last byte is 1; a Set adds its count of keys to the last byte.
RootHash initialStateByRule();
RootHash stateAfter(const RootHash& state, size_t keys);

// Serves `stream` until it ends; dropping the promise closes it. `script` must live as long, and
// longer than the client's connection.
kj::Promise<void> serve(kj::Own<kj::AsyncCapabilityStream> stream, Script& script);

// Accepts connections at `path`; dropping it closes the socket and all connections.
kj::Promise<void> serveAt(kj::Network& network, kj::StringPtr path, Script& script);

}  // namespace ledger::client
