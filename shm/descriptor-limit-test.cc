// SPDX-License-Identifier: Apache-2.0
#include "shm/descriptor-limit.h"

#include <gtest/gtest.h>

#include <sys/resource.h>

namespace shm {
namespace {

// Catches a start that leaves the soft limit, often 1,024, in place.
TEST(DescriptorLimit, IsRaisedToTheHardLimit) {
  struct rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlim_t hard = limit.rlim_max;
  limit.rlim_cur = 64;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);

  EXPECT_EQ(raiseDescriptorLimit(), hard);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(limit.rlim_cur, hard);
  EXPECT_EQ(raiseDescriptorLimit(), hard);
}

}  // namespace
}  // namespace shm
