// SPDX-License-Identifier: Apache-2.0
#include "client/reply-arenas.h"

#include <kj/debug.h>

#include <fcntl.h>

namespace ledger::client {
namespace {

// However short the idle time is: the sweep must not keep the loop busy.
constexpr kj::Duration MIN_SWEEP_INTERVAL = 100 * kj::MILLISECONDS;

kj::AutoCloseFd duplicate(int fd) {
  int copy;
  KJ_SYSCALL(copy = fcntl(fd, F_DUPFD_CLOEXEC, 0));
  return kj::AutoCloseFd(copy);
}

}  // namespace

ReplyArenas::ReplyArenas(rpc::Session::Client session, kj::Timer& timer, kj::Duration idle)
    : session(kj::mv(session)), timer(timer), idle(idle) {}

kj::Promise<kj::Own<const shm::MappedArena>> ReplyArenas::open(uint32_t id) {
  KJ_REQUIRE(arenas.size() < MAX_ARENAS || arenas.count(id) > 0,
             "the server's replies name too many arenas", id, arenas.size());
  auto& entry = arenas[id];
  startSweeping();
  if (entry.mapping != nullptr) return use(entry);
  if (entry.opening == nullptr || entry.failed) {
    entry.failed = false;
    entry.opening = map(id)
                        .catch_([this, id](kj::Exception&& exception) {
                          // A later reply may try again; else the sweep drops the entry.
                          arenas.at(id).failed = true;
                          kj::throwFatalException(kj::mv(exception));
                        })
                        .fork();
  }
  return KJ_ASSERT_NONNULL(entry.opening).addBranch().then([this, id]() {
    return open(id);  // Mapped, unless a sweep came between.
  });
}

kj::Own<const shm::MappedArena> ReplyArenas::use(Entry& entry) {
  entry.lastUsed = timer.now();
  return kj::atomicAddRef(*KJ_ASSERT_NONNULL(entry.mapping));
}

kj::Promise<void> ReplyArenas::map(uint32_t id) {
  auto request = session.openArenaRequest();
  request.setId(id);
  return request.send().then([this, id](capnp::Response<rpc::OpenArenaReply> reply) {
    KJ_REQUIRE(reply.isOpened(), "the server does not open the arena that its reply lies in", id,
               reply.isError() ? reply.getError().getMessage() : "no reason given"_kj);
    auto opened = reply.getOpened();
    auto size = opened.getSize();
    // The capability owns the descriptor: it must stay until that is duplicated.
    auto arena = opened.getArena();
    auto fd = arena.getFd();
    return fd.then([this, id, size, arena = kj::mv(arena)](kj::Maybe<int> fd) {
      auto mapped = shm::MappedArena::map(
          duplicate(KJ_REQUIRE_NONNULL(fd, "the server's arena has no descriptor", id)), size);
      KJ_IF_MAYBE (fault, mapped.tryGet<shm::PeerFault>()) {
        KJ_FAIL_REQUIRE("the server's arena cannot be mapped", id, fault->message);
      }
      auto& entry = arenas.at(id);
      entry.mapping = kj::mv(mapped.get<kj::Own<const shm::MappedArena>>());
      entry.lastUsed = timer.now();
    });
  });
}

void ReplyArenas::startSweeping() {
  if (isSweeping) return;
  isSweeping = true;
  sweeping = sweep().eagerlyEvaluate([](kj::Exception&& exception) { KJ_LOG(ERROR, exception); });
}

kj::Promise<void> ReplyArenas::sweep() {
  auto interval = kj::max(idle, MIN_SWEEP_INTERVAL);
  return timer.afterDelay(interval).then([this]() -> kj::Promise<void> {
    for (auto entry = arenas.begin(); entry != arenas.end();) {
      bool unused = entry->second.failed;
      KJ_IF_MAYBE (mapping, entry->second.mapping) {
        if ((*mapping)->isShared()) {
          entry->second.lastUsed = timer.now();
        } else {
          unused = timer.now() - entry->second.lastUsed >= idle;
        }
      }
      entry = unused ? arenas.erase(entry) : std::next(entry);
    }
    if (!arenas.empty()) return sweep();
    isSweeping = false;
    return kj::READY_NOW;
  });
}

}  // namespace ledger::client
