// SPDX-License-Identifier: Apache-2.0
#pragma once
// What all sessions of the process share. main() makes it before any loop starts, and it outlives
// them all.

#include "ledger/ledger.h"
#include "server/access.h"
#include "server/call-meters.h"
#include "server/hand-over-tokens.h"
#include "server/session-arenas.h"
#include "server/session-list.h"
#include "server/store-pins.h"
#include "server/workers.h"
#include "shm/memory-budget.h"
#include "shm/retired-arenas.h"

#include <kj/time.h>

#include <atomic>

namespace ledger::server {

// What clients may do; told to them in the handshake.
struct ServiceLimits {
  uint64_t requestBytes;     // Payload of one request.
  uint64_t responseBytes;    // Payload of one reply.
  uint64_t inlineThreshold;  // Longer replies go through shared memory.
  uint64_t arenaBytes;       // Reply arenas of one session.
  uint64_t messageWords;     // Longest message taken.
  uint32_t regions = 65536;  // Held by one session; of what lies in the store 4,096 at the most.
  uint32_t referencedStates = 8;  // That a session's references into the store keep.
  uint32_t callsInFlight = 4096;
  uint32_t batchOperations = 65536;
  uint32_t replyArenas = 128;       // Of one session, as the next two.
  uint32_t registeredArenas = 256;  // Of its client's memory.
  uint32_t openArenas = 1024;       // Descriptors that a session has been given and still holds.
  uint32_t sessions = 1024;         // Of the whole process.
  uint32_t sessionsPerConnection = 8;
  uint32_t connections = 1024;  // Of one loop.
};

// Thread: everything in it may be used from any thread.
struct Host {
  const Ledger& ledger;
  const shm::MemoryBudget& memory;        // --memory-limit.
  const shm::MemoryBudget& sharedMemory;  // --shared-memory-limit, under `memory`.
  const shm::MemoryBudget& grpcReplies;   // Until clients have read them; under `memory`.
  const shm::RetiredArenas& retiredArenas;
  const StorePins& storePins;
  const ServiceLimits limits;
  const AccessRules& access;
  const kj::TimePoint start;

  const SessionArenas sessionArenas{};
  const SessionList sessionList{};
  const HandOverTokens handOverTokens{kj::systemPreciseMonotonicClock()};
  const CallMeters calls{};

  // Sessions that are open.
  mutable std::atomic<uint32_t> sessions{0};
  // New calls are refused.
  mutable std::atomic<bool> shuttingDown{false};

  // Last: their tasks use all of the above.
  const Workers workers;
  const Workers checkpointCalls;  // Wait for checkpoints, perhaps for hours.
};

}  // namespace ledger::server
