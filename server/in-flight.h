// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counts what has begun and not ended (calls, writes), for who has to wait until nothing has.

#include <kj/async.h>

#include <cstdint>

namespace ledger::server {

// Thread: its loop.
class InFlight final {
public:
  void begin() { ++count; }
  void end() {
    if (--count > 0) return;
    KJ_IF_MAYBE (fulfiller, waiting) (*fulfiller)->fulfill();
  }

  // Resolves once nothing is in flight. For one that waits at a time.
  kj::Promise<void> whenNone() {
    if (count == 0) return kj::READY_NOW;
    auto paf = kj::newPromiseAndFulfiller<void>();
    waiting = kj::mv(paf.fulfiller);
    return kj::mv(paf.promise);
  }

private:
  uint32_t count = 0;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiting;
};

}  // namespace ledger::server
