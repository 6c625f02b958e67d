// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the micro benchmarks have in common: Google Benchmark, told what it runs on.

#include "bench/workload.h"

#include <benchmark/benchmark.h>

namespace ledger::bench {

// Of the registers, values and picks of all micro benchmarks.
constexpr uint64_t MICRO_SEED = 1;

// Runs what was registered, with machine, hash kernel and seed beside the results. Returns the
// process's exit status. Arguments: Google Benchmark's (--benchmark_filter=...).
int runMicroBenchmarks(int argc, char** argv);

}  // namespace ledger::bench
