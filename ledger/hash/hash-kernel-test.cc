// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/hash-kernel.h"

#include <gtest/gtest.h>
#include <kj/string.h>

#include <iostream>

namespace ledger::hash {
namespace {

TEST(HashKernel, IsAtFirstTheLastThatTheCpuSupports) {
  EXPECT_EQ(hashKernel(), supportedHashKernels().back());
  for (auto kernel : supportedHashKernels()) {
    std::cout << "this CPU hashes with: " << nameOf(kernel).cStr() << std::endl;
  }
}

TEST(HashKernel, IsTheOneChosen) {
  for (auto kernel : supportedHashKernels()) {
    useHashKernel(kernel);
    EXPECT_EQ(hashKernel(), kernel);
  }
}

// An illegal instruction in the middle of a Set would otherwise be the first sign.
TEST(HashKernel, IsNotOneThatTheCpuLacks) {
  auto before = hashKernel();
  for (auto kernel :
       allHashKernels().slice(supportedHashKernels().size(), allHashKernels().size())) {
    EXPECT_ANY_THROW(useHashKernel(kernel)) << nameOf(kernel).cStr();
    EXPECT_EQ(hashKernel(), before);
  }
}

TEST(HashKernel, HasANameOfItsOwn) {
  kj::StringPtr names[] = {"scalar", "bmi2", "avx2", "avx512"};
  ASSERT_EQ(allHashKernels().size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(nameOf(allHashKernels()[i]), names[i]);
}

}  // namespace
}  // namespace ledger::hash
