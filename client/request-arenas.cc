// SPDX-License-Identifier: Apache-2.0
#include "client/request-arenas.h"

#include "shm/memfd.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

constexpr uint64_t GRANULE = uint64_t(1) << 20;

// A quarter more than asked for, so that the next request of about this size fits as well.
uint64_t capacityFor(uint64_t bytes) {
  return (bytes + bytes / 4 + GRANULE - 1) / GRANULE * GRANULE;
}

// Carries a descriptor to the server.
class ArenaDescriptor final : public rpc::Arena::Server {
public:
  explicit ArenaDescriptor(kj::AutoCloseFd fd) : fd(kj::mv(fd)) {}
  kj::Maybe<int> getFd() override { return fd.get(); }

private:
  kj::AutoCloseFd fd;
};

}  // namespace

struct RequestArenas::Arena final : public kj::Refcounted {
  Arena(kj::Own<shm::Memfd> memory, uint32_t id, rpc::Registration::Client registration)
      : memory(kj::mv(memory)), id(id), registration(kj::mv(registration)) {}

  kj::Own<shm::Memfd> memory;
  uint32_t id;
  rpc::Registration::Client registration;
  bool busy = false;
};

struct RequestArenas::Pool final : public kj::Refcounted {
  explicit Pool(uint64_t idleBytes) : idleBytes(idleBytes) {}

  // The smallest idle arena of at least `bytes`.
  kj::Maybe<Arena&> findIdle(uint64_t bytes) {
    kj::Maybe<Arena&> best;
    uint64_t bestSize = UINT64_MAX;
    for (auto& arena : arenas) {
      auto size = arena->memory->size();
      if (arena->busy || size < bytes || size >= bestSize) continue;
      best = *arena;
      bestSize = size;
    }
    return best;
  }

  // Drops idle arenas, the largest first, until at most `bytes` of them are left.
  void trimIdle(uint64_t bytes) {
    for (;;) {
      uint64_t idle = 0;
      size_t largest = 0;
      uint64_t largestSize = 0;
      for (size_t i = 0; i < arenas.size(); ++i) {
        if (arenas[i]->busy) continue;
        auto size = arenas[i]->memory->size();
        idle += size;
        if (size > largestSize) largest = i;
        largestSize = kj::max(largestSize, size);
      }
      if (idle <= bytes) return;
      if (largest + 1 != arenas.size()) arenas[largest] = kj::mv(arenas.back());
      arenas.removeLast();
    }
  }

  uint64_t bytes() const {
    uint64_t sum = making;
    for (auto& arena : arenas) sum += arena->memory->size();
    return sum;
  }

  const uint64_t idleBytes;
  kj::Vector<kj::Own<Arena>> arenas;
  uint64_t making = 0;       // Bytes of arenas that are being registered.
  uint32_t makingCount = 0;  // Their number.
};

// The lease that rides in a request.
class RequestArenas::Region final : public rpc::Region::Server {
public:
  Region(kj::Own<Pool> pool, kj::Own<Arena> arena) : pool(kj::mv(pool)), arena(kj::mv(arena)) {
    this->arena->busy = true;
  }
  ~Region() noexcept(false) {
    arena->busy = false;
    pool->trimIdle(pool->idleBytes);
  }

private:
  kj::Own<Pool> pool;
  kj::Own<Arena> arena;
};

RequestArenas::RequestArenas(rpc::Session::Client session, const Limits& limits)
    : session(kj::mv(session)), limits(limits), pool(kj::refcounted<Pool>(limits.idleBytes)) {}

RequestArenas::~RequestArenas() noexcept(false) {}

kj::Promise<kj::Maybe<RequestRoom>> RequestArenas::take(uint64_t bytes) {
  KJ_IF_MAYBE (arena, pool->findIdle(bytes)) {
    return kj::Maybe<RequestRoom>(lend(kj::addRef(*arena)));
  }
  // Idle ones are too small: their memory is better spent on the new one.
  pool->trimIdle(0);
  if (bytes > limits.bytes || pool->arenas.size() + pool->makingCount >= limits.count) {
    return kj::Maybe<RequestRoom>(nullptr);
  }
  return makeArena(bytes);
}

kj::Promise<kj::Maybe<RequestRoom>> RequestArenas::makeArena(uint64_t bytes) {
  auto capacity = capacityFor(bytes);
  if (pool->bytes() > limits.bytes || capacity > limits.bytes - pool->bytes()) {
    return kj::Maybe<RequestRoom>(nullptr);
  }

  kj::Own<shm::Memfd> memory;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 memory = shm::Memfd::create("ledgerd-request", capacity);
                 memory->commit(0, capacity, shm::Memfd::Warm::NO);
               })) {
    KJ_LOG(WARNING, "no shared memory for a request: it goes inline", *exception);
    return kj::Maybe<RequestRoom>(nullptr);
  }

  auto request = session.registerArenaRequest();
  request.setArena(kj::heap<ArenaDescriptor>(memory->openReadOnly()));
  request.setSize(capacity);
  pool->making += capacity;
  ++pool->makingCount;
  auto made = kj::defer([pool = kj::addRef(*pool), capacity]() mutable {
    pool->making -= capacity;
    --pool->makingCount;
  });
  return request.send().then(
      [this, memory = kj::mv(memory), made = kj::mv(made)](
          capnp::Response<rpc::RegisterArenaReply> reply) mutable -> kj::Maybe<RequestRoom> {
        if (!reply.isRegistered()) {
          KJ_LOG(WARNING, "the server refuses an arena for requests: they go inline",
                 reply.isError() ? reply.getError().getMessage() : "no reason given"_kj);
          return nullptr;
        }
        auto registered = reply.getRegistered();
        auto arena =
            kj::refcounted<Arena>(kj::mv(memory), registered.getId(), registered.getRegistration());
        pool->arenas.add(kj::addRef(*arena));
        return lend(kj::mv(arena));
      });
}

RequestRoom RequestArenas::lend(kj::Own<Arena> arena) {
  auto id = arena->id;
  auto bytes = arena->memory->bytes();
  return {id, bytes, kj::heap<Region>(kj::addRef(*pool), kj::mv(arena))};
}

}  // namespace ledger::client
