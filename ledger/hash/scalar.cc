// SPDX-License-Identifier: Apache-2.0
// The scalar kernel that every CPU runs.
#include "ledger/hash/scalar-kernel.h"

namespace ledger::hash {
namespace {
struct Baseline;
}

constinit const ScalarKernel SCALAR_KERNEL = Scalar<Baseline>::kernel();

}  // namespace ledger::hash
