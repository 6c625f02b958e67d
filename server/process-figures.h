// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the kernel says of this process.

#include <cstdint>

namespace ledger::server {

struct ProcessFigures {
  double cpuSeconds;
  uint64_t openDescriptors, mostDescriptors;
  uint64_t virtualBytes, residentBytes;
  double startSeconds;  // Since 1970.
};

// What cannot be read is 0.
ProcessFigures processFigures();

}  // namespace ledger::server
