// SPDX-License-Identifier: Apache-2.0
#include "bench/samples.h"

#include <kj/debug.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <vector>

namespace ledger::bench {

double Samples::percentile(double part) const {
  KJ_REQUIRE(samples.size() > 0, "no samples");
  std::vector<Clock::duration> sorted(samples.begin(), samples.end());
  const auto rank = std::max<size_t>(1, std::ceil(part * sorted.size()));
  std::nth_element(sorted.begin(), sorted.begin() + (rank - 1), sorted.end());
  return std::chrono::duration<double, std::micro>(sorted[rank - 1]).count();
}

void printResult(kj::StringPtr caseName, kj::StringPtr transport, const Samples& samples) {
  std::cout << nlohmann::json{{"case", caseName.cStr()},
                              {"transport", transport.cStr()},
                              {"p50_us", samples.percentile(0.50)},
                              {"p99_us", samples.percentile(0.99)},
                              {"n", samples.size()}}
            << std::endl;
}

void printBytes(kj::StringPtr caseName, kj::StringPtr transport, uint64_t bytes) {
  std::cout << nlohmann::json{{"case", caseName.cStr()},
                              {"transport", transport.cStr()},
                              {"bytes", bytes},
                              {"n", 1}}
            << std::endl;
}

}  // namespace ledger::bench
