// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/hash-kernel.h"

#include "ledger/hash/kernels.h"

#include <kj/debug.h>

#include <atomic>

namespace ledger::hash {
namespace {

// By HashKernel.
constexpr HashKernel ALL[] = {HashKernel::SCALAR, HashKernel::BMI2, HashKernel::AVX2,
                              HashKernel::AVX512};
constexpr kj::StringPtr NAMES[] = {"scalar"_kj, "bmi2"_kj, "avx2"_kj, "avx512"_kj};
constexpr Kernels KERNELS[] = {
    {&SCALAR_KERNEL, nullptr},
    {&BMI2_KERNEL, nullptr},
    {&BMI2_KERNEL, &AVX2_KERNEL},
    {&BMI2_KERNEL, &AVX512_KERNEL},
};

// Each kernel needs what the ones before it need: no CPU has the later without the earlier. The
// flags are those in BUILD.bazel; libgcc also asks whether the system saves the registers.
size_t countSupported() {
  if (!__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2")) return 1;
  if (!__builtin_cpu_supports("avx2")) return 2;
  if (!__builtin_cpu_supports("avx512f")) return 3;
  return 4;
}

std::atomic<const Kernels*>& inUse() {
  static std::atomic<const Kernels*> kernels{&kernelsOf(supportedHashKernels().back())};
  return kernels;
}

}  // namespace

kj::ArrayPtr<const HashKernel> allHashKernels() {
  return ALL;
}

kj::ArrayPtr<const HashKernel> supportedHashKernels() {
  static const size_t count = countSupported();
  return kj::arrayPtr(ALL, count);
}

HashKernel hashKernel() {
  for (auto kernel : ALL) {
    if (&kernelsOf(kernel) == &kernels()) return kernel;
  }
  KJ_FAIL_ASSERT("a test's own kernel is in use");
}

void useHashKernel(HashKernel kernel) {
  KJ_REQUIRE(size_t(kernel) < supportedHashKernels().size(), "this CPU cannot hash so",
             nameOf(kernel));
  useKernels(kernelsOf(kernel));
}

kj::StringPtr nameOf(HashKernel kernel) {
  return NAMES[size_t(kernel)];
}

const Kernels& kernels() {
  return *inUse().load(std::memory_order_relaxed);
}

void useKernels(const Kernels& kernels) {
  inUse().store(&kernels, std::memory_order_relaxed);
}

const Kernels& kernelsOf(HashKernel kernel) {
  return KERNELS[size_t(kernel)];
}

}  // namespace ledger::hash
