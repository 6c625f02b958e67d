// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/progress.h"

#include <gtest/gtest.h>

#include <string>

namespace ledgerctl {
namespace {

// A bar that runs over its end, or divides by nothing.
TEST(ProgressBar, ShowsTheShare) {
  auto bar = [](uint64_t done, uint64_t total) {
    return std::string(renderBar("reading", done, total).cStr());
  };
  EXPECT_EQ(bar(1 << 20, 2 << 20), "reading  [" + std::string(15, '#') + std::string(15, ' ') +
                                       "]  50 %  1.0 MiB of 2.0 MiB");
  EXPECT_EQ(bar(0, 10), "reading  [" + std::string(30, ' ') + "]   0 %  0 bytes of 10 bytes");
  for (auto& whole : {bar(10, 10), bar(20, 10), bar(0, 0)}) {
    EXPECT_NE(whole.find("[" + std::string(30, '#') + "] 100 %"), std::string::npos) << whole;
  }
}

}  // namespace
}  // namespace ledgerctl
