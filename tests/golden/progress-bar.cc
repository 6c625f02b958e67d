// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/progress-bar.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <unistd.h>

namespace ledger::golden {

namespace {

constexpr unsigned WIDTH = 30;           // Characters of the bar.
constexpr unsigned MOST_OF_DETAIL = 40;  // So that the line does not wrap.

}  // namespace

ProgressBar::ProgressBar(kj::StringPtr what, uint64_t total)
    : what(kj::str(what)), total(std::max<uint64_t>(total, 1)), terminal(isatty(1)) {}

ProgressBar::~ProgressBar() {
  if (terminal && last > 0) printf("\n");
  fflush(stdout);
}

void ProgressBar::advance(uint64_t done, kj::StringPtr detail) {
  last = std::min(done, total);
  if (terminal) {
    const unsigned filled = unsigned(last * WIDTH / total);
    printf("\r  %s [%.*s%.*s] %" PRIu64 "/%" PRIu64 " %-*.*s\e[K", what.cStr(), filled,
           "##############################", WIDTH - filled, "..............................", last,
           total, 0, int(MOST_OF_DETAIL), detail.cStr());
    fflush(stdout);
  } else if (const uint64_t quarter = 4 * last / total; quarter > printed) {
    printed = quarter;
    printf("  %s %" PRIu64 "/%" PRIu64 "\n", what.cStr(), last, total);
    fflush(stdout);
  }
}

}  // namespace ledger::golden
