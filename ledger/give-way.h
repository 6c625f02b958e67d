// SPDX-License-Identifier: Apache-2.0
#pragma once
// How work in the background gives way to Sets.
//
// It is cut into pieces of about a millisecond, and after each one it waits until no Set is in
// progress, but at most PATIENCE times as long as the piece took. So a Set meets few pieces on its
// way, whatever they take from it: processors, locks or the disk. And Sets without end only slow
// the work down: it goes on at 1 / (1 + PATIENCE) of its pace.
//
// Priorities of the system's are not used: they say nothing of the disk, and who has a low one may
// have to wait for a processor while it holds what others wait for, in the kernel too.

#include <kj/common.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace ledger {

// Thread: const methods from any thread.
class SetsInProgress final {
public:
  SetsInProgress() = default;
  KJ_DISALLOW_COPY(SetsInProgress);

  // For work beside which there are no Sets.
  static const SetsInProgress& none();

  // A Set is in progress as long as one of these lives.
  class One final {
  public:
    explicit One(const SetsInProgress& sets);
    ~One() noexcept(false);
    KJ_DISALLOW_COPY(One);

  private:
    const SetsInProgress& sets;
  };

  // Returns when there is none, after `patience` at the latest.
  void awaitNone(std::chrono::nanoseconds patience) const;

  // Whether there was none for so long: then the next one, if it comes, is one of few.
  bool noneSince(std::chrono::nanoseconds time) const;

private:
  // Not kj::MutexGuarded: that hands its lock over to who waits for a condition before it wakes it,
  // and no Set must wait for a thread that has not even woken.
  mutable std::mutex mutex;
  mutable std::condition_variable noneLeft;
  mutable unsigned count = 0;                              // Guarded.
  mutable std::chrono::steady_clock::time_point lastOne{};  // Guarded: when it ended.
};

// Thread: one at a time.
class GiveWay final {
public:
  static constexpr int PATIENCE = 4;
  static constexpr auto QUIET = std::chrono::milliseconds(100);

  // The first piece begins.
  explicit GiveWay(const SetsInProgress& sets);

  // A piece ends. The next one begins when this returns.
  void afterPiece();

  // Whether there has been no Set lately.
  bool isQuiet() const { return sets.noneSince(QUIET); }

private:
  const SetsInProgress& sets;
  std::chrono::steady_clock::time_point begun;
};

}  // namespace ledger
