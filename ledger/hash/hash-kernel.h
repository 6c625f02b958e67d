// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which code hashes: the widest that this CPU has, unless another is chosen. All give the same
// hashes; tests and benchmarks try each.

#include <kj/common.h>
#include <kj/string.h>

namespace ledger::hash {

enum class HashKernel {
  SCALAR,  // One state in general-purpose registers; any CPU.
  BMI2,    // The same, with the instructions of BMI1 and BMI2.
  AVX2,    // Four states side by side; single jobs as BMI2.
  AVX512,  // Eight states side by side (AVX-512F); single jobs as BMI2.
};

// Every kernel, and those that this CPU can run; in the order above.
kj::ArrayPtr<const HashKernel> allHashKernels();
kj::ArrayPtr<const HashKernel> supportedHashKernels();

// The one in use, at first the last of those supported.
HashKernel hashKernel();

// Every later call of any thread uses `kernel`; those under way end as they began. Throws if this
// CPU does not support it.
void useHashKernel(HashKernel kernel);

// "scalar", "bmi2", "avx2", "avx512".
kj::StringPtr nameOf(HashKernel kernel);

}  // namespace ledger::hash
