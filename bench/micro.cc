// SPDX-License-Identifier: Apache-2.0
#include "bench/micro.h"

#include "bench/machine.h"

#include <string>

namespace ledger::bench {

int runMicroBenchmarks(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const auto machine = describeMachine();
  benchmark::AddCustomContext("cpu", machine.cpu.cStr());
  benchmark::AddCustomContext("kernel", machine.kernel.cStr());
  benchmark::AddCustomContext("hash kernel", machine.hash.cStr());
  benchmark::AddCustomContext("crc32c path", machine.crc32c.cStr());
  benchmark::AddCustomContext("seed", std::to_string(MICRO_SEED));
  benchmark::AddCustomContext("value bytes", std::to_string(VALUE_BYTES));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace ledger::bench
