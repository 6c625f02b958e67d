// SPDX-License-Identifier: Apache-2.0
#pragma once
// Threads for work that would hold up an event loop, and the way back.
//
// A loop hands in a function and gets a promise for its result. Dropping the promise costs nothing
// and asks the function to stop: it learns so from its Stop. A function runs on values and const
// objects; nothing that belongs to a loop (promises, capabilities, readers, builders) may go with
// it. Who has no loop posts a task that finds its own way back.

#include "ledger/stop.h"

#include <kj/async.h>
#include <kj/function.h>
#include <kj/mutex.h>
#include <kj/thread.h>
#include <kj/vector.h>

#include <cstdint>
#include <list>

namespace ledger::server {

// A queue that is bounded, and the threads that serve it.
// Thread: run() from any thread with an event loop, post() from any; the rest from the owner's.
class Workers final {
public:
  // `queueLength` tasks may wait; more are refused.
  Workers(uint32_t threadCount, uint32_t queueLength);

  // Runs what was accepted to its end, then joins.
  ~Workers() noexcept(false);
  KJ_DISALLOW_COPY(Workers);

  // Calls `function(stop)` on a worker; T is what it returns, a type with a value. An exception
  // comes back through the promise. The function is destroyed on the worker, called or not: a task
  // whose promise was dropped before its turn is not called. Null: the queue is full.
  template <typename Function>
  auto run(Function&& function) const -> kj::Maybe<kj::Promise<decltype(function(Stop::never()))>>;

  // Calls `task` on a worker, and destroys it there. False: the queue is full.
  bool post(kj::Function<void()> task) const;

  // Drops a reference on a worker, if it is the last one and its object takes time to destroy; or
  // here, if the queue is full.
  template <typename T>
  void destroy(kj::Own<const T> object) const {
    if (!object->isShared()) post([object = kj::mv(object)]() {});
  }

  uint32_t queued() const { return state.lockShared()->tasks.size(); }

private:
  struct State {
    std::list<kj::Function<void()>> tasks;  // Oldest first.
    bool stopping = false;
  };

  void serve() const;

  const uint32_t queueLength;
  kj::MutexGuarded<State> state;
  kj::Vector<kj::Own<kj::Thread>> threads;  // Last: they use all of the above.
};

// A call is wanted as long as somebody waits for its promise.
template <typename T>
class WantedStop final : public Stop {
public:
  explicit WantedStop(const kj::CrossThreadPromiseFulfiller<T>& fulfiller) : fulfiller(fulfiller) {}
  bool requested() const override { return !fulfiller.isWaiting(); }

private:
  const kj::CrossThreadPromiseFulfiller<T>& fulfiller;
};

template <typename Function>
auto Workers::run(Function&& function) const
    -> kj::Maybe<kj::Promise<decltype(function(Stop::never()))>> {
  using T = decltype(function(Stop::never()));
  auto paf = kj::newPromiseAndCrossThreadFulfiller<T>();
  // `fulfiller` is destroyed after `function`: what the function holds is gone when the promise is
  // rejected for want of an answer.
  auto accepted = post(
      [fulfiller = kj::mv(paf.fulfiller), function = kj::fwd<Function>(function)]() mutable {
        const WantedStop<T> stop(*fulfiller);
        if (stop.requested()) return;
        fulfiller->rejectIfThrows([&]() { fulfiller->fulfill(function(stop)); });
      });
  if (!accepted) return nullptr;
  return kj::mv(paf.promise);
}

}  // namespace ledger::server
