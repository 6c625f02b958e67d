// SPDX-License-Identifier: Apache-2.0
#pragma once
// The functions behind a HashKernel.

#include "ledger/hash/hash-kernel.h"
#include "ledger/hash/kernel.h"

namespace ledger::hash {

struct Kernels {
  const ScalarKernel* scalar;
  const LaneKernel* lanes;  // Null: everything runs on `scalar`.
};

// Those in use.
const Kernels& kernels();

// As useHashKernel, for tests: `kernels`, which must outlive their use, may be of no HashKernel.
void useKernels(const Kernels& kernels);

// Not all may run on this CPU.
const Kernels& kernelsOf(HashKernel kernel);

}  // namespace ledger::hash
