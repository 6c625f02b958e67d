// SPDX-License-Identifier: Apache-2.0
#pragma once
// Waits for what other threads do, with an end: what never comes is a failure that says what it
// was, not a test that hangs.

#include <kj/debug.h>
#include <kj/mutex.h>
#include <kj/string.h>

#include <chrono>
#include <thread>

namespace ledger::testing {

// Far more than what is waited for takes, on a machine that is busy, under a sanitizer.
constexpr std::chrono::seconds AWAIT_LIMIT{120};

// Returns once `condition()` holds. Throws, with `what` was waited for, if that takes too long.
template <typename Condition>
void await(kj::StringPtr what, Condition&& condition) {
  const auto deadline = std::chrono::steady_clock::now() + AWAIT_LIMIT;
  while (!condition()) {
    KJ_REQUIRE(std::chrono::steady_clock::now() < deadline, "waited in vain", what);
    std::this_thread::yield();
  }
}

// The same of a guarded value, without looking at it over and over.
template <typename T, typename Predicate>
void await(kj::StringPtr what, const kj::MutexGuarded<T>& guarded, Predicate&& predicate) {
  guarded.when([&](const T& value) { return predicate(value); },
               [&](const T& value) { KJ_REQUIRE(predicate(value), "waited in vain", what); },
               AWAIT_LIMIT.count() * kj::SECONDS);
}

}  // namespace ledger::testing
