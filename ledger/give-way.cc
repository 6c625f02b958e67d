// SPDX-License-Identifier: Apache-2.0
#include "ledger/give-way.h"

namespace ledger {

const SetsInProgress& SetsInProgress::none() {
  static const SetsInProgress NONE;
  return NONE;
}

SetsInProgress::One::One(const SetsInProgress& sets) : sets(sets) {
  std::lock_guard lock(sets.mutex);
  ++sets.count;
}

SetsInProgress::One::~One() noexcept(false) {
  std::lock_guard lock(sets.mutex);
  if (--sets.count > 0) return;
  sets.lastOne = std::chrono::steady_clock::now();
  sets.noneLeft.notify_all();
}

void SetsInProgress::awaitNone(std::chrono::nanoseconds patience) const {
  std::unique_lock lock(mutex);
  noneLeft.wait_for(lock, patience, [this]() { return count == 0; });
}

bool SetsInProgress::noneSince(std::chrono::nanoseconds time) const {
  std::lock_guard lock(mutex);
  return count == 0 && std::chrono::steady_clock::now() - lastOne >= time;
}

GiveWay::GiveWay(const SetsInProgress& sets)
    : sets(sets), begun(std::chrono::steady_clock::now()) {}

void GiveWay::afterPiece() {
  sets.awaitNone(PATIENCE * (std::chrono::steady_clock::now() - begun));
  begun = std::chrono::steady_clock::now();
}

}  // namespace ledger
