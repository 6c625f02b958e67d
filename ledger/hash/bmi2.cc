// SPDX-License-Identifier: Apache-2.0
// The scalar kernel with andn (BMI1) and rorx (BMI2), which save a round its complements and moves.
#include "ledger/hash/scalar-kernel.h"

namespace ledger::hash {
namespace {
struct Bmi2;
}

constinit const ScalarKernel BMI2_KERNEL = Scalar<Bmi2>::kernel();

}  // namespace ledger::hash
