// SPDX-License-Identifier: Apache-2.0
// The log, on the file system of /tmp, and its checksum.
//
//   Append/n             a record of n bytes laid out and checksummed in memory, without a commit
//   Commit/n             a group of one record of n bytes made durable: one write, one fdatasync
//   CommitGroup/n        a group of n records of 20,000 bytes (a Set of 100 registers)
//   Crc32cInstruction/n  the checksum of n bytes by the processor's instruction
//   Crc32cTable/n        the same by tables

#include "bench/micro.h"
#include "ledger/wal/crc32c.h"
#include "ledger/wal/writer.h"
#include "tests/testing/scratch-folder.h"

#include <kj/filesystem.h>

namespace ledger::bench {
namespace {

constexpr size_t RECORD_BYTES = 20'000;

kj::Array<kj::byte> randomBytes(size_t count) {
  auto bytes = kj::heapArray<kj::byte>(count);
  stream(MICRO_SEED, 0, 0).fill(bytes);
  return bytes;
}

struct Log {
  testing::ScratchFolder folder;
  WalWriter writer{openFolder(), {}};

  kj::Own<const kj::Directory> openFolder() {
    auto disk = kj::newDiskFilesystem();
    return disk->getRoot().openSubdir(disk->getCurrentPath().evalNative(folder.path()),
                                      kj::WriteMode::MODIFY);
  }
};

void append(benchmark::State& state) {
  Log log;
  const auto record = randomBytes(state.range(0));
  for (auto _ : state) {
    log.writer.append(record);
    if (log.writer.groupSize() > WAL_MAX_GROUP / 2) log.writer.discard();
  }
  state.SetBytesProcessed(state.iterations() * record.size());
}
BENCHMARK(append)->Name("Append")->Arg(200)->Arg(RECORD_BYTES)->Arg(2 << 20);

void commit(benchmark::State& state) {
  Log log;
  const auto record = randomBytes(state.range(0));
  for (auto _ : state) {
    log.writer.append(record);
    log.writer.commit();
  }
  state.SetBytesProcessed(state.iterations() * record.size());
}
// Real time: a commit mostly waits for the disk. Iterations are bounded, since each one stays on
// it.
BENCHMARK(commit)
    ->Name("Commit")
    ->UseRealTime()
    ->Iterations(200)
    ->Arg(200)
    ->Arg(RECORD_BYTES)
    ->Arg(2 << 20);

void commitGroup(benchmark::State& state) {
  Log log;
  const auto record = randomBytes(RECORD_BYTES);
  for (auto _ : state) {
    for (int i = 0; i < state.range(0); ++i) log.writer.append(record);
    log.writer.commit();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(commitGroup)->Name("CommitGroup")->UseRealTime()->Iterations(200)->Arg(10)->Arg(100);

void crc32cByInstruction(benchmark::State& state) {
  if (!haveCrc32cInstruction()) {
    state.SkipWithError("skipped, because the processor has no crc32 instruction");
    return;
  }
  const auto bytes = randomBytes(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(extendCrc32cByInstruction(0, bytes));
  state.SetBytesProcessed(state.iterations() * bytes.size());
}
BENCHMARK(crc32cByInstruction)->Name("Crc32cInstruction")->Arg(200)->Arg(32 << 10)->Arg(16 << 20);

void crc32cByTable(benchmark::State& state) {
  const auto bytes = randomBytes(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(extendCrc32cByTable(0, bytes));
  state.SetBytesProcessed(state.iterations() * bytes.size());
}
BENCHMARK(crc32cByTable)->Name("Crc32cTable")->Arg(200)->Arg(32 << 10);

}  // namespace
}  // namespace ledger::bench

int main(int argc, char** argv) {
  return ledger::bench::runMicroBenchmarks(argc, argv);
}
