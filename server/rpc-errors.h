// SPDX-License-Identifier: Apache-2.0
#pragma once
// Refusals, between the core's words, the arenas' and the wire's.

#include "ledger/error.h"
#include "schema/bad-payload.h"
#include "schema/ledger.capnp.h"
#include "shm/arena-set.h"
#include "shm/memory-budget.h"

namespace ledger::server {

void fill(rpc::Error::Builder builder, const Error& error);

Error toError(rpc::BadPayload&& bad);

// --memory-limit, or a limit above it, has no room for a request or a reply.
Error outOfMemory(const shm::Shortage& shortage);

// The workers' queue takes no more.
Error queueFull(uint32_t length);

// No arena could lend the bytes.
Error toError(const shm::Refusal& refusal);

}  // namespace ledger::server
