// SPDX-License-Identifier: Apache-2.0
#pragma once
// How far the process has come, for who asks while it starts, serves and ends.

#include "ledger/ledger.h"
#include "server/host.h"

#include <kj/common.h>
#include <kj/mutex.h>

namespace ledger::server {

// Thread: const methods from any thread.
class ServiceState final {
public:
  ServiceState() = default;
  KJ_DISALLOW_COPY(ServiceState);

  enum class Phase { OPENING, LOADING_CHECKPOINT, REPLAYING, SERVING, ENDING };
  struct Progress {
    Phase phase;
    uint64_t done, total;  // Bytes, of LOADING_CHECKPOINT and REPLAYING.
  };

  void noteProgress(const ledger::Progress& progress) const;

  // `host` is shown from here on, and until this is dropped, which waits for who looks at it.
  class Serving final {
  public:
    Serving(const ServiceState& state, const Host& host);
    ~Serving() noexcept(false);
    KJ_DISALLOW_COPY(Serving);

  private:
    const ServiceState& state;
  };

  Progress progress() const;

  // Calls `look(host)` if it is there, and says whether it was. `look` is quick: it holds up the
  // process's end.
  template <typename Look>
  bool withHost(Look&& look) const {
    auto lock = state.lockShared();
    if (lock->host == nullptr) return false;
    look(*lock->host);
    return true;
  }

private:
  struct State {
    Progress progress{Phase::OPENING, 0, 0};
    const Host* host = nullptr;
  };
  kj::MutexGuarded<State> state;
};

// "opening", "loading checkpoint", "replaying log", "serving", "ending".
kj::StringPtr nameOf(ServiceState::Phase phase);

}  // namespace ledger::server
