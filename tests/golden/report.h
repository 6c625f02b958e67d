// SPDX-License-Identifier: Apache-2.0
#pragma once
// Counts what passed and what did not, and says so.

#include <kj/string.h>
#include <kj/vector.h>

#include <cstdint>

namespace ledger::golden {

// Thread: one.
class Report final {
public:
  // Everything up to the next section is counted under this name.
  void section(kj::StringPtr name);

  void passed(uint64_t count = 1);
  // Printed at once, up to a limit per section.
  void failed(kj::StringPtr what);
  // Counts under the current section; `what` is said if it does not hold.
  void check(bool holds, kj::StringPtr what);
  // Work of another day, or of another machine: named in the report.
  void skipped(kj::StringPtr what, kj::StringPtr why);

  // Prints the last section's line, what was skipped, and "N passed, N failed, N skipped" as the
  // last line. The exit code: 0 if nothing failed and something passed.
  int finish();

private:
  void closeSection();

  kj::String name;
  uint64_t sectionPassed = 0, sectionFailed = 0;
  uint64_t allPassed = 0, allFailed = 0;
  kj::Vector<kj::String> skips;
};

}  // namespace ledger::golden
