// SPDX-License-Identifier: Apache-2.0
#include "server/service-state.h"

namespace ledger::server {

void ServiceState::noteProgress(const ledger::Progress& progress) const {
  const bool isReplay = progress.phase == ledger::Progress::Phase::REPLAY;
  state.lockExclusive()->progress = {isReplay ? Phase::REPLAYING : Phase::LOADING_CHECKPOINT,
                                     progress.done, progress.total};
}

ServiceState::Serving::Serving(const ServiceState& state, const Host& host) : state(state) {
  auto lock = state.state.lockExclusive();
  lock->host = &host;
  lock->progress = {Phase::SERVING, 0, 0};
}

ServiceState::Serving::~Serving() noexcept(false) {
  auto lock = state.state.lockExclusive();
  lock->host = nullptr;
  lock->progress = {Phase::ENDING, 0, 0};
}

ServiceState::Progress ServiceState::progress() const {
  auto lock = state.lockShared();
  auto result = lock->progress;
  if (lock->host != nullptr && lock->host->shuttingDown.load(std::memory_order_relaxed)) {
    result.phase = Phase::ENDING;
  }
  return result;
}

kj::StringPtr nameOf(ServiceState::Phase phase) {
  switch (phase) {
    case ServiceState::Phase::OPENING:
      return "opening"_kj;
    case ServiceState::Phase::LOADING_CHECKPOINT:
      return "loading checkpoint"_kj;
    case ServiceState::Phase::REPLAYING:
      return "replaying log"_kj;
    case ServiceState::Phase::SERVING:
      return "serving"_kj;
    case ServiceState::Phase::ENDING:
      return "ending"_kj;
  }
  KJ_UNREACHABLE;
}

}  // namespace ledger::server
