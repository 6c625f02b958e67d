// SPDX-License-Identifier: Apache-2.0
#pragma once
// How long to wait before the next attempt: each time half as long again, up to a ceiling, and
// spread at random, so that the clients of a restarted server do not all come back at once.

#include "client/random-source.h"

#include <kj/time.h>

namespace ledger::client {

class Backoff final {
public:
  struct Options {
    kj::Duration first = 100 * kj::MILLISECONDS;
    double factor = 1.5;                   // At least 1.
    kj::Duration most = 30 * kj::SECONDS;  // Ceiling, jitter included.
    double jitter = 0.2;                   // A wait is spread over [1 - jitter, 1 + jitter].
  };

  // Throws if an option makes no sense. `random` must outlive this.
  Backoff(const Options& options, RandomSource& random);

  // The wait before the next attempt.
  kj::Duration next();

private:
  const Options options;
  RandomSource& random;
  kj::Duration middle;  // Of the range that the next wait is drawn from.
};

}  // namespace ledger::client
