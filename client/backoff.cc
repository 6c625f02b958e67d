// SPDX-License-Identifier: Apache-2.0
#include "client/backoff.h"

#include <kj/debug.h>

#include <cmath>

namespace ledger::client {
namespace {

kj::Duration scale(kj::Duration duration, double by) {
  return std::llround((duration / kj::NANOSECONDS) * by) * kj::NANOSECONDS;
}

// Uniform in [0, 1).
double drawFraction(RandomSource& random) {
  uint32_t bits;
  random.fill(kj::arrayPtr(reinterpret_cast<kj::byte*>(&bits), sizeof(bits)));
  return bits * 0x1p-32;
}

}  // namespace

Backoff::Backoff(const Options& options, RandomSource& random)
    : options(options), random(random), middle(options.first) {
  KJ_REQUIRE(options.first > 0 * kj::SECONDS && options.first <= options.most &&
                 options.factor >= 1 && options.jitter >= 0 && options.jitter < 1,
             "these waits between attempts make no sense", options.first, options.most,
             options.factor, options.jitter);
}

kj::Duration Backoff::next() {
  auto wait = scale(middle, 1 - options.jitter + 2 * options.jitter * drawFraction(random));
  // Compared before multiplying: `middle` stays at the ceiling, whatever the number of attempts.
  middle = middle < scale(options.most, 1 / options.factor) ? scale(middle, options.factor)
                                                            : options.most;
  return kj::min(wait, options.most);
}

}  // namespace ledger::client
