// SPDX-License-Identifier: Apache-2.0
#pragma once
// One call's request, from its message to operations that need the message no more.
//
// Each method reads one request, once, and notes an operation or the error that it is. What came
// inline is then copied by copied(), before which the message must not go; what lies in a client's
// arena stays there, kept in place by the regions, until a worker reads it.

#include "schema/ledger.capnp.h"
#include "server/host.h"
#include "server/operations.h"
#include "server/peer-arenas.h"

#include <kj/async.h>
#include <kj/vector.h>

namespace ledger::server {

// What a session is told that may not write.
Error readOnly();

// Error: BAD_STATE.
Result<RootHash> parseState(capnp::Data::Reader bytes);

// Thread: its session's loop.
class Intake final {
public:
  // `memory`: for the bodies. `access`: READ or WRITE.
  Intake(const Host& host, const PeerArenas& arenas, const shm::MemoryBudget& memory,
         Access access)
      : arenas(arenas), memory(memory), access(access), left(host.limits.requestBytes) {}

  void initialState();
  void hasState(rpc::StateRequest::Reader request);
  void getSingleValue(rpc::GetSingleValueRequest::Reader request);
  void get(rpc::GetRequest::Reader request);
  void set(rpc::SetRequest::Reader request);
  void prove(rpc::ProveRequest::Reader request);

  // One of a batch. Null: none that is known here; its answer is an error.
  kj::Maybe<Operation::Kind> operation(rpc::Operation::Reader operation);

  size_t count() const { return operations.size(); }

  // Whether it is little enough work to be done on the loop.
  bool isSmall() const { return cost <= MOST_ON_LOOP; }

  // Copies the inline payloads; at once if there is little of them.
  kj::Promise<void> copied();

  // Moves the result out. The regions belong to this thread: they are dropped here once the
  // operations have been executed, wherever that is.
  kj::Array<Result<Operation>> takeOperations() { return operations.releaseAsArray(); }
  kj::Array<rpc::Region::Client> takeRegions() { return regions.releaseAsArray(); }

private:
  // Cost in units of about a microsecond; what goes to the disk or through a proof is over it.
  static constexpr uint64_t MOST_ON_LOOP = 128;
  static constexpr uint64_t TOO_MUCH = MOST_ON_LOOP + 1;

  void add(Operation::Kind kind, capnp::Data::Reader state, Result<RequestBody> keys,
           Result<RequestBody> values, capnp::Data::Reader id);
  Result<RequestBody> take(rpc::Bulk::Reader bulk);
  Result<RequestBody> take(capnp::Data::Reader bytes);
  Result<RequestBody> take(rpc::BulkPlace&& place);
  void addCost(uint64_t more) { cost = kj::min(cost + more, TOO_MUCH); }

  const PeerArenas& arenas;
  const shm::MemoryBudget& memory;
  const Access access;
  kj::Vector<Result<Operation>> operations;
  kj::Vector<rpc::Region::Client> regions;
  uint64_t left;  // Of the request's limit, in bytes.
  uint64_t cost = 0;
};

}  // namespace ledger::server
