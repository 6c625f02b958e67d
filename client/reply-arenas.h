// SPDX-License-Identifier: Apache-2.0
#pragma once
// The server's arenas, mapped read-only, each once.
//
// Mapping an arena costs a round trip and its pages' first touch, so a mapping is kept while views
// use it and for some time after. Not longer: while it is mapped here the server cannot give the
// arena's memory back.

#include "schema/ledger.capnp.h"
#include "shm/mapped-arena.h"

#include <kj/async.h>
#include <kj/timer.h>

#include <unordered_map>

namespace ledger::client {

// Thread: the connection's.
class ReplyArenas final {
public:
  // More than a server needs, whose store lies in hundreds of segments.
  static constexpr size_t MAX_ARENAS = 4096;

  // A mapping that no view has used for `idle` is undone, at the latest after twice that time (or
  // a little later, where `idle` is very short).
  ReplyArenas(rpc::Session::Client session, kj::Timer& timer, kj::Duration idle);

  // Throws if the server does not open it, or if it is not what the server says, or if the server
  // has named MAX_ARENAS others lately.
  kj::Promise<kj::Own<const shm::MappedArena>> open(uint32_t id);

private:
  struct Entry {
    kj::Maybe<kj::ForkedPromise<void>> opening;  // Done once there is a mapping, or it failed.
    kj::Maybe<kj::Own<const shm::MappedArena>> mapping;
    bool failed = false;
    kj::TimePoint lastUsed = kj::origin<kj::TimePoint>();
  };

  kj::Own<const shm::MappedArena> use(Entry& entry);
  kj::Promise<void> map(uint32_t id);
  void startSweeping();
  kj::Promise<void> sweep();

  rpc::Session::Client session;
  kj::Timer& timer;
  const kj::Duration idle;
  std::unordered_map<uint32_t, Entry> arenas;
  kj::Promise<void> sweeping = nullptr;
  bool isSweeping = false;  // While there are entries.
};

}  // namespace ledger::client
