// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/report.h"

#include <cinttypes>
#include <cstdio>

namespace ledger::golden {

namespace {

// The first differences tell what is wrong; thousands more would hide them.
constexpr uint64_t MOST_PRINTED = 10;

}  // namespace

void Report::section(kj::StringPtr newName) {
  closeSection();
  name = kj::str(newName);
}

void Report::closeSection() {
  if (sectionPassed + sectionFailed > 0) {
    if (sectionFailed > MOST_PRINTED) {
      printf("    ... and %" PRIu64 " more\n", sectionFailed - MOST_PRINTED);
    }
    printf("  %-58s %6" PRIu64 " passed", name.cStr(), sectionPassed);
    if (sectionFailed > 0) printf(", %" PRIu64 " FAILED", sectionFailed);
    printf("\n");
    fflush(stdout);
  }
  allPassed += sectionPassed;
  allFailed += sectionFailed;
  sectionPassed = sectionFailed = 0;
}

void Report::passed(uint64_t count) {
  sectionPassed += count;
}

void Report::failed(kj::StringPtr what) {
  if (++sectionFailed <= MOST_PRINTED) printf("    FAILED %s: %s\n", name.cStr(), what.cStr());
  fflush(stdout);
}

void Report::check(bool holds, kj::StringPtr what) {
  if (holds) {
    passed();
  } else {
    failed(what);
  }
}

void Report::skipped(kj::StringPtr what, kj::StringPtr why) {
  skips.add(kj::str(what, " (", why, ")"));
}

int Report::finish() {
  closeSection();
  for (auto& skip : skips) printf("  skipped: %s\n", skip.cStr());
  printf("%" PRIu64 " passed, %" PRIu64 " failed, %zu skipped\n", allPassed, allFailed,
         skips.size());
  return allFailed == 0 && allPassed > 0 ? 0 : 1;
}

}  // namespace ledger::golden
