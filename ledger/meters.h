// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a ledger counts of itself, for who watches it: docs/metrics.md says what each means.
//
// Counting costs a few relaxed atomic additions, so that it can stand beside the shortest call.
// Figures that belong together may be read a moment apart.

#include <kj/array.h>
#include <kj/common.h>
#include <kj/mutex.h>
#include <kj/time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace ledger {

// Thread, of all that follow: const methods from any thread.

// Only grows.
class Counter final {
public:
  void add(uint64_t count = 1) const { value.fetch_add(count, std::memory_order_relaxed); }
  uint64_t get() const { return value.load(std::memory_order_relaxed); }

private:
  mutable std::atomic<uint64_t> value{0};
};

// The last value, or how many there are.
class Gauge final {
public:
  void set(int64_t to) const { value.store(to, std::memory_order_relaxed); }
  void add(int64_t count) const { value.fetch_add(count, std::memory_order_relaxed); }
  int64_t get() const { return value.load(std::memory_order_relaxed); }

private:
  mutable std::atomic<int64_t> value{0};
};

// How many times were at most so long.
class TimeHistogram final {
public:
  static constexpr size_t MOST_BOUNDS = 20;

  // `bounds` ascend, are at most MOST_BOUNDS, and are never freed.
  explicit TimeHistogram(kj::ArrayPtr<const kj::Duration> bounds) : bounds(bounds) {
    KJ_IREQUIRE(bounds.size() <= MOST_BOUNDS);
  }

  void add(kj::Duration time) const {
    const auto* bucket = std::lower_bound(bounds.begin(), bounds.end(), time);
    counts[bucket - bounds.begin()].fetch_add(1, std::memory_order_relaxed);
    sum.fetch_add(time / kj::NANOSECONDS, std::memory_order_relaxed);
  }

  kj::ArrayPtr<const kj::Duration> upperBounds() const { return bounds; }
  // Not over bound `i`, and over the one before it; `i` = the number of bounds: over all.
  uint64_t count(size_t i) const { return counts[i].load(std::memory_order_relaxed); }
  kj::Duration total() const { return sum.load(std::memory_order_relaxed) * kj::NANOSECONDS; }

private:
  const kj::ArrayPtr<const kj::Duration> bounds;
  mutable std::atomic<uint64_t> counts[MOST_BOUNDS + 1] = {};
  mutable std::atomic<int64_t> sum{0};  // Nanoseconds.
};

// The distribution of the last times, of things that take so long that a lock does not matter.
class RecentTimes final {
public:
  static constexpr size_t KEPT = 1024;

  void add(kj::Duration time) const {
    auto lock = state.lockExclusive();
    if (lock->last.size() < KEPT) {
      lock->last.push_back(time);
    } else {
      lock->last[lock->count % KEPT] = time;
    }
    ++lock->count;
    lock->sum += time;
  }

  struct Summary {
    uint64_t count = 0;                     // Of all.
    kj::Duration sum = 0 * kj::NANOSECONDS;  // Of all.
    std::vector<kj::Duration> last;         // Ascending.

    // 0 <= share <= 1; of none it is 0.
    kj::Duration quantile(double share) const {
      if (last.empty()) return 0 * kj::NANOSECONDS;
      return last[std::min(last.size() - 1, size_t(share * double(last.size())))];
    }
  };
  Summary summary() const {
    auto result = *state.lockShared();
    std::sort(result.last.begin(), result.last.end());
    return result;
  }

private:
  kj::MutexGuarded<Summary> state;
};

// flow-go's bounds, of reads and updates.
constexpr kj::Duration SLOW_TIMES[] = {50 * kj::MILLISECONDS, 200 * kj::MILLISECONDS,
                                       500 * kj::MILLISECONDS, 1 * kj::SECONDS,
                                       2 * kj::SECONDS,        5 * kj::SECONDS};

struct WalMeters {
  Counter pages;           // Written, whole or in part.
  Counter completedPages;  // Their last byte was written.
  Counter failedGroups;
  RecentTimes syncs;
};

struct LedgerMeters {
  // Tries, those of a replay included.
  Counter updatedValues;                   // Distinct registers of all updates.
  Gauge updateBytes;                       // Keys and values of the last one.
  Gauge newestRegisters, newestBytes;      // Of the trie that was built last.
  Gauge registersChange, bytesChange;      // Against the one it was built from.
  Gauge newestDepth;                       // The deepest that its update reached.

  // Sets that are not empty; times of those that succeeded.
  alignas(64) Counter updates;
  TimeHistogram updateTime{SLOW_TIMES}, updateTimePerValue{SLOW_TIMES};

  // Reads that succeeded.
  alignas(64) Counter readValues;
  Gauge readBytes;  // Keys and values of the last of more than one register.
  TimeHistogram readTime{SLOW_TIMES}, readTimePerValue{SLOW_TIMES};

  alignas(64) Gauge proofBytesPerKey;  // Of the last one.
  WalMeters wal;

  void addRead(uint64_t keys, kj::Duration time) const {
    readValues.add(keys);
    readTime.add(time);
    readTimePerValue.add(time / int64_t(kj::max(keys, 1u)));
  }

  // For a ledger that nobody watches.
  static const LedgerMeters& unread();
};

inline const LedgerMeters& LedgerMeters::unread() {
  static const LedgerMeters UNREAD;
  return UNREAD;
}

// Time from its making on.
class Stopwatch final {
public:
  Stopwatch() : start(kj::systemPreciseMonotonicClock().now()) {}
  kj::Duration elapsed() const { return kj::systemPreciseMonotonicClock().now() - start; }

private:
  const kj::TimePoint start;
};

}  // namespace ledger
