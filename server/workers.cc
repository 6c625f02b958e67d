// SPDX-License-Identifier: Apache-2.0
#include "server/workers.h"

#include <kj/debug.h>

namespace ledger::server {

Workers::Workers(uint32_t threadCount, uint32_t queueLength) : queueLength(queueLength) {
  KJ_REQUIRE(threadCount > 0, "a pool without threads");
  for (uint32_t index = 0; index < threadCount; ++index) {
    threads.add(kj::heap<kj::Thread>([this]() { serve(); }));
  }
}

Workers::~Workers() noexcept(false) {
  state.lockExclusive()->stopping = true;
  threads.clear();
}

bool Workers::post(kj::Function<void()> task) const {
  // A refused task is destroyed by the caller, after the lock is gone.
  auto lock = state.lockExclusive();
  if (lock->stopping || lock->tasks.size() >= queueLength) return false;
  lock->tasks.push_back(kj::mv(task));
  return true;
}

void Workers::serve() const {
  for (;;) {
    // Null: no more will come.
    auto task =
        state.when([](const State& state) { return !state.tasks.empty() || state.stopping; },
                   [](State& state) -> kj::Maybe<kj::Function<void()>> {
                     if (state.tasks.empty()) return nullptr;
                     auto first = kj::mv(state.tasks.front());
                     state.tasks.pop_front();
                     return kj::mv(first);
                   });
    KJ_IF_MAYBE (next, task) {
      // run() reports what the task itself throws; this is for what its destruction throws.
      KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                     auto owned = kj::mv(*next);
                     owned();
                   })) {
        KJ_LOG(ERROR, "a task of a worker failed", *exception);
      }
    } else {
      return;
    }
  }
}

}  // namespace ledger::server
