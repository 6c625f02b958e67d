// SPDX-License-Identifier: Apache-2.0
#include "server/io-loop.h"

#include "server/accept-each.h"
#include "server/connections.h"
#include "server/hand-over-service.h"

#include <kj/async-io.h>
#include <kj/debug.h>
#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

// Events in a row before the loop looks for new input, so that a long copy in slices lets other
// sessions in.
constexpr uint32_t EVENTS_BEFORE_POLL = 32;

// How long a client may take to receive the last replies.
constexpr kj::Duration LAST_WRITES = 5 * kj::SECONDS;

// How often memory is looked for that clients have let go of. Most of what a dead process had open
// is gone a moment after its socket.
constexpr kj::Duration TIDY_INTERVAL = 1 * kj::SECONDS;

using Stream = kj::Own<kj::AsyncIoStream>;

// Ends only by being dropped: what fails now is tried again the next time.
kj::Promise<void> tidy(const Host& host, kj::Timer& timer) {
  return timer.afterDelay(TIDY_INTERVAL)
      .then([&host]() -> kj::Promise<void> {
        auto tidied = host.workers.run([&host](const Stop&) {
          host.retiredArenas.collect();
          host.ledger.collect();
          host.sessionArenas.sweep();
          return true;
        });
        KJ_IF_MAYBE (promise, tidied) return promise->ignoreResult();
        return kj::READY_NOW;  // The workers are busy.
      })
      .catch_([](kj::Exception&& exception) {
        spdlog::error("looking for unused memory failed: {}", exception.getDescription().cStr());
      })
      .then([&host, &timer]() { return tidy(host, timer); });
}

}  // namespace

IoLoop::IoLoop(const Host& host, Listeners listeners, kj::Duration shutdownTimeout,
               kj::Function<void(const kj::Exception&)> onFailure) {
  thread = kj::heap<kj::Thread>([this, &host, listeners = kj::mv(listeners), shutdownTimeout,
                                 onFailure = kj::mv(onFailure)]() mutable {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                                [&]() { run(host, kj::mv(listeners), shutdownTimeout); })) {
      onFailure(*exception);
    }
  });
}

IoLoop::~IoLoop() noexcept(false) {
  stop();
  thread = nullptr;
}

void IoLoop::stop() const {
  auto lock = state.lockExclusive();
  lock->stopping = true;
  KJ_IF_MAYBE (stopper, lock->stopper) (*stopper)->fulfill();
}

void IoLoop::run(const Host& host, Listeners listeners, kj::Duration shutdownTimeout) const {
  auto io = kj::setupAsyncIo();
  io.waitScope.setBusyPollInterval(EVENTS_BEFORE_POLL);
  auto& timer = io.provider->getTimer();

  auto stopped = kj::newPromiseAndCrossThreadFulfiller<void>();
  {
    auto lock = state.lockExclusive();
    if (lock->stopping) return;
    lock->stopper = kj::mv(stopped.fulfiller);
  }
  // The fulfiller belongs to this loop: it goes before the loop does.
  KJ_DEFER(state.lockExclusive()->stopper = nullptr);

  InFlight calls;
  Connections connections(host, calls);
  HandOverService handOvers(host.handOverTokens, timer);
  {
    auto working = tidy(host, timer).exclusiveJoin(kj::mv(stopped.promise));
    auto accept = [&](kj::AutoCloseFd socket, kj::Function<void(Stream)> serve) {
      auto receiver = io.lowLevelProvider->wrapListenSocketFd(
          kj::mv(socket), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC |
                              kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
      auto accepting = acceptEach(*receiver, timer, kj::mv(serve)).attach(kj::mv(receiver));
      working = working.exclusiveJoin(kj::mv(accepting));
    };
    for (auto& each : listeners.clients) {
      accept(kj::mv(each.socket), [&connections, terms = each.terms](Stream stream) {
        connections.serve(kj::mv(stream), terms);
      });
    }
    for (auto& socket : listeners.handOvers) {
      accept(kj::mv(socket), [&handOvers](Stream stream) { handOvers.serve(kj::mv(stream)); });
    }
    working.wait(io.waitScope);
  }

  bool finished = false;
  calls.whenNone()
      .then([&]() { finished = true; })
      .exclusiveJoin(timer.afterDelay(shutdownTimeout))
      .wait(io.waitScope);
  if (!finished) spdlog::warn("calls in flight were cancelled: they took too long to finish");
  connections.whenWritten().exclusiveJoin(timer.afterDelay(LAST_WRITES)).wait(io.waitScope);
}

}  // namespace ledger::server
