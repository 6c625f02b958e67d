// SPDX-License-Identifier: Apache-2.0
#pragma once
// One line that grows on a terminal; a few lines elsewhere.

#include <kj/string.h>

#include <cstdint>

namespace ledger::golden {

// Writes to stdout. Thread: one.
class ProgressBar final {
public:
  ProgressBar(kj::StringPtr what, uint64_t total);
  ~ProgressBar();  // Ends the line.
  KJ_DISALLOW_COPY(ProgressBar);

  void advance(uint64_t done, kj::StringPtr detail);

private:
  const kj::String what;
  const uint64_t total;
  const bool terminal;
  uint64_t printed = 0;  // Quarters of the whole.
  uint64_t last = 0;
};

}  // namespace ledger::golden
