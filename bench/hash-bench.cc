// SPDX-License-Identifier: Apache-2.0
// Hashing, the cost that dominates a Set. Time is per call, `items` per permutation or message.
// With the kernel in use; and, as name/kernel, with each that this CPU supports.
//
//   Permutation          of as many states as the kernel has lanes
//   HashInterior         one interior node: one permutation
//   HashInteriors/n      n interior nodes in one call, as a level of a trie is hashed
//   HashLeaf/n           one leaf with a value of n bytes
//   HashKeys/n           n keys to paths in one call, canonical forms included
//   RunChains/n          n leaves from height 0 to height 236, as new registers of a trie with 2^20
//                        are hashed: 236 permutations each

#include "bench/micro.h"
#include "ledger/hash/hash-kernel.h"
#include "ledger/hash/kernels.h"
#include "ledger/hash/sha3.h"
#include "ledger/path-finder.h"

#include <kj/array.h>

#include <string>

namespace ledger::bench {
namespace {

constexpr uint16_t CHAIN_TOP = 236;

void permutation(benchmark::State& state) {
  const auto& kernels = hash::kernels();
  const unsigned lanes = kernels.lanes == nullptr ? 1 : kernels.lanes->lanes;
  const auto permute = kernels.lanes == nullptr ? kernels.scalar->permute : kernels.lanes->permute;
  alignas(64) uint64_t states[hash::MAX_LANES * hash::STATE_WORDS] = {};
  for (auto _ : state) {
    permute(states);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * lanes);
}

kj::Array<Hash> randomHashes(size_t count) {
  auto random = stream(MICRO_SEED, 0, 0);
  auto hashes = kj::heapArray<Hash>(count);
  for (auto& hash : hashes) random.fill(kj::arrayPtr(hash.bytes.data(), hash.bytes.size()));
  return hashes;
}

void hashInterior(benchmark::State& state) {
  auto hashes = randomHashes(2);
  for (auto _ : state) {
    hashes[0] = hash::hashInterior(hashes[0], hashes[1]);
    benchmark::DoNotOptimize(hashes[0]);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(hashInterior)->Name("HashInterior");

void hashInteriors(benchmark::State& state) {
  const size_t count = state.range(0);
  auto children = randomHashes(2 * count);
  auto parents = kj::heapArray<Hash>(count);
  auto jobs = kj::heapArray<hash::InteriorJob>(count);
  for (size_t i = 0; i < count; ++i)
    jobs[i] = {&children[2 * i], &children[2 * i + 1], &parents[i]};
  for (auto _ : state) {
    hash::hashInteriors(jobs);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * count);
}
BENCHMARK(hashInteriors)->Name("HashInteriors")->Arg(8)->Arg(64)->Arg(1024);

void hashLeaf(benchmark::State& state) {
  Path path;
  stream(MICRO_SEED, 0, 0).fill(kj::arrayPtr(path.bytes.data(), path.bytes.size()));
  const Workload workload{.seed = MICRO_SEED, .registers = 1};
  const auto value = workload.value(0, 1, state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(hash::hashLeaf(path, value));
  state.SetBytesProcessed(state.iterations() * value.size());
}
BENCHMARK(hashLeaf)->Name("HashLeaf")->Arg(32)->Arg(VALUE_BYTES)->Arg(1 << 20);

void hashKeys(benchmark::State& state) {
  const size_t count = state.range(0);
  const Workload workload{.seed = MICRO_SEED, .registers = count};
  const auto keys = workload.keys(range(0, count));
  auto paths = kj::heapArray<Path>(count);
  for (auto _ : state) {
    pathsOf(keys.items, paths);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * count);
}
BENCHMARK(hashKeys)->Name("HashKeys")->Arg(1)->Arg(100)->Arg(10'000);

void runChains(benchmark::State& state) {
  const size_t count = state.range(0);
  auto random = stream(MICRO_SEED, 0, 0);
  auto paths = kj::heapArray<Path>(count);
  for (auto& path : paths) random.fill(kj::arrayPtr(path.bytes.data(), path.bytes.size()));
  auto results = kj::heapArray<Hash>(count);
  const uint16_t top[] = {CHAIN_TOP};
  auto jobs = kj::heapArray<hash::ChainJob>(count);
  for (size_t i = 0; i < count; ++i) {
    jobs[i] = {.path = &paths[i],
               .start = {},
               .from = 0,
               .heights = kj::arrayPtr(top, 1),
               .out = &results[i]};
  }
  for (auto _ : state) {
    hash::runChains(jobs);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * count * CHAIN_TOP);
}
BENCHMARK(runChains)->Name("RunChains")->Arg(1)->Arg(8)->Arg(64);

void registerForEachKernel(const char* name, void (*function)(benchmark::State&),
                           std::initializer_list<int64_t> counts) {
  for (auto kernel : hash::supportedHashKernels()) {
    auto* registered = benchmark::RegisterBenchmark(
        (std::string(name) + "/" + hash::nameOf(kernel).cStr()).c_str(),
        [=](benchmark::State& state) {
          const auto before = hash::hashKernel();
          hash::useHashKernel(kernel);
          function(state);
          hash::useHashKernel(before);
        });
    for (auto count : counts) registered->Arg(count);
  }
}

void registerForEachKernel() {
  registerForEachKernel("Permutation", permutation, {});
  registerForEachKernel("HashInteriors", hashInteriors, {1, 2, 3, 1024});
  registerForEachKernel("HashKeys", hashKeys, {1000});
  registerForEachKernel("RunChains", runChains, {1, 2, 3, 64});
}

}  // namespace
}  // namespace ledger::bench

int main(int argc, char** argv) {
  ledger::bench::registerForEachKernel();
  return ledger::bench::runMicroBenchmarks(argc, argv);
}
