// SPDX-License-Identifier: Apache-2.0
// The engine without a service: a ledger in this process, on a folder of its own in /tmp, with
// 100,000 registers (--registers=N: another number) loaded in Sets of 10,000. Random registers.
//
//   Load                 the load itself; time is per register, the log included
//   GetSingleValue       one register of the base state
//   Get/n                n registers in one call
//   Prove/n              n registers proven in one call, and the proof encoded
//   Set/n                new values for n registers, durable when it returns, on the state of the
//                        Set before

#include "bench/core-ledger.h"
#include "bench/micro.h"
#include "bench/succeed.h"

#include <kj/debug.h>

#include <chrono>
#include <iostream>
#include <string>

namespace ledger::bench {
namespace {

constexpr uint64_t LOAD_SET_SIZE = 10'000;
constexpr size_t PICKED_REQUESTS = 32;  // Prepared before the clock runs, then used in turn.

struct Fixture {
  Workload workload;
  CoreLedger loaded;
  RootHash tip = loaded.base();
  uint64_t version = 1;

  const Ledger& ledger() const { return loaded.ledger(); }
};

kj::Array<ByteStrings> pickRequests(const Workload& workload, kj::StringPtr name, size_t size) {
  auto picks = workload.picks(name, 0);
  auto requests = kj::heapArrayBuilder<ByteStrings>(PICKED_REQUESTS);
  for (size_t i = 0; i < PICKED_REQUESTS; ++i) requests.add(workload.keys(picks.distinct(size)));
  return requests.finish();
}

void getSingleValue(benchmark::State& state, const Fixture& fixture) {
  // More than the caches hold, so that each read is as cold as the workload makes it.
  const auto keys = fixture.workload.keys(
      fixture.workload.picks("get-single-value", 0).distinct(fixture.workload.registers));
  const auto trie = succeed(fixture.ledger().pin(fixture.loaded.base()));
  size_t i = 0;
  for (auto _ : state) {
    auto value = Ledger::getSingleValue(*trie, keys.items[i++ % keys.items.size()]);
    benchmark::DoNotOptimize(value.get<Value>()[0]);
  }
  state.SetItemsProcessed(state.iterations());
}

void get(benchmark::State& state, const Fixture& fixture) {
  const size_t size = state.range(0);
  const auto requests = pickRequests(fixture.workload, "get", size);
  size_t i = 0;
  for (auto _ : state) {
    auto values = succeed(fixture.ledger().get(
        fixture.loaded.base(), requests[i++ % requests.size()].items, Stop::never()));
    benchmark::DoNotOptimize(values.bytes);
  }
  state.SetItemsProcessed(state.iterations() * size);
}

void prove(benchmark::State& state, const Fixture& fixture) {
  const size_t size = state.range(0);
  const auto requests = pickRequests(fixture.workload, "prove", size);
  size_t i = 0;
  uint64_t bytes = 0;
  kj::Array<kj::byte> out;  // Kept: first touch of its pages is not the engine's.
  for (auto _ : state) {
    auto proof = succeed(fixture.ledger().prove(
        fixture.loaded.base(), requests[i++ % requests.size()].items, Stop::never()));
    if (out.size() < proof.encodedSize()) out = kj::heapArray<kj::byte>(2 * proof.encodedSize());
    proof.encode(out.slice(0, proof.encodedSize()));
    bytes += proof.encodedSize();
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * size);
  state.SetBytesProcessed(bytes);
}

void set(benchmark::State& state, Fixture& fixture) {
  auto picks = fixture.workload.picks("set", state.range(0));
  for (auto _ : state) {
    state.PauseTiming();
    const auto registers = picks.distinct(state.range(0));
    const auto keys = fixture.workload.keys(registers);
    const auto values = fixture.workload.values(registers, ++fixture.version);
    state.ResumeTiming();
    fixture.tip = succeed(
        fixture.ledger().set(fixture.tip, keys.items, values.items, nullptr, Stop::never()));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

int run(int argc, char** argv) {
  uint64_t registers = 100'000;
  constexpr std::string_view FLAG = "--registers=";
  if (argc > 1 && std::string_view(argv[1]).starts_with(FLAG)) {
    registers = std::stoull(argv[1] + FLAG.size());
    KJ_REQUIRE(registers >= 10'000, "the largest requests pick 10,000 registers", registers);
    argv[1] = argv[0];
    --argc;
    ++argv;
  }

  const Workload workload{.seed = MICRO_SEED, .registers = registers};
  const auto start = std::chrono::steady_clock::now();
  Fixture fixture{.workload = workload, .loaded = CoreLedger(workload, LOAD_SET_SIZE)};
  const std::chrono::duration<double, std::micro> elapsed =
      std::chrono::steady_clock::now() - start;
  std::cerr << "Load: " << registers << " registers, " << elapsed.count() / registers
            << " us each\n";

  benchmark::AddCustomContext("registers", std::to_string(registers));
  benchmark::RegisterBenchmark("GetSingleValue", getSingleValue, std::cref(fixture));
  benchmark::RegisterBenchmark("Get", get, std::cref(fixture))->Arg(100)->Arg(1'000)->Arg(10'000);
  benchmark::RegisterBenchmark("Prove", prove, std::cref(fixture))->Arg(1'000)->Arg(10'000);
  // Real time: a Set waits for the disk and may use several threads. Iterations are bounded, so
  // that the base state stays among the forest's 500 tries.
  for (auto [size, iterations] : {std::pair(1, 100), {100, 50}, {1'000, 20}, {10'000, 5}}) {
    benchmark::RegisterBenchmark("Set", set, std::ref(fixture))
        ->Arg(size)
        ->UseRealTime()
        ->Iterations(iterations);
  }
  return runMicroBenchmarks(argc, argv);
}

}  // namespace
}  // namespace ledger::bench

int main(int argc, char** argv) {
  return ledger::bench::run(argc, argv);
}
