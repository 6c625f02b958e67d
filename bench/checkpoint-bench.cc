// SPDX-License-Identifier: Apache-2.0
// Checkpoints: how long one takes to be written and loaded, and what it costs Sets meanwhile.
//
//   files       Loads --registers registers in Sets of 10,000, writes a checkpoint of the last --tries
//               states to --directory (kept, for flow-go to do the same with), then loads and
//               writes it --rounds times. The page cache is warm. Written: all files synced.
//   under-load  A ledger with --registers registers takes Sets of --set-size registers from one
//               caller for --seconds seconds without a checkpoint, and for as long with one
//               checkpoint after the other; p50 and p99 of both, alternating --rounds times.
//
// Results are lines of JSON.

#include "bench/succeed.h"
#include "bench/workload.h"
#include "ledger/checkpoint-loader.h"
#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/writer.h"
#include "ledger/ledger.h"
#include "shm/memory-budget.h"
#include "shm/memory-limit.h"
#include "tests/testing/scratch-folder.h"

#include <CLI/CLI.hpp>
#include <kj/debug.h>
#include <kj/thread.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

namespace ledger::bench {
namespace {

constexpr uint64_t LOAD_SET_SIZE = 10'000;
constexpr uint64_t SEED = 1;

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

struct Arguments {
  uint64_t registers = 1'000'000;
  uint32_t tries = 91;
  unsigned threads = 2;
  unsigned rounds = 3;
  std::string directory;
  uint64_t setSize = 100;
  double seconds = 10;
};

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void print(const ordered_json& line) {
  std::cout << line.dump() << std::endl;
}

class Bench {
public:
  explicit Bench(Arguments arguments)
      : arguments(std::move(arguments)),
        budget(shm::MemoryBudget::create("--memory-limit",
                                         shm::defaultMemoryLimit(disk->getRoot()))),
        workload{SEED, this->arguments.registers} {}

  void files() {
    KJ_REQUIRE(!arguments.directory.empty(), "files needs --directory");
    std::filesystem::create_directories(arguments.directory);
    auto directory = open(arguments.directory);
    auto numbers = listCheckpoints(*directory);
    if (numbers.size() == 0) {
      auto ledger = openLedger(arguments.directory);
      load(*ledger);
      succeed(ledger->checkpoint(Stop::never()));
      numbers = listCheckpoints(*directory);
    }
    const auto name = checkpointName(numbers.back());
    for (unsigned round = 0; round < arguments.rounds; ++round) {
      auto store = kj::atomicRefcounted<Store>(*budget);
      CheckpointLoader loader(kj::atomicAddRef(*store));
      auto start = Clock::now();
      readCheckpoint(*directory, name, loader, {.threads = arguments.threads});
      auto tries = loader.takeTries();
      print({{"case", "checkpoint-load"}, {"tries", tries.size()}, {"seconds", secondsSince(start)}});

      const auto beside = arguments.directory + "/written";  // On the same disk.
      std::filesystem::create_directory(beside);
      KJ_DEFER(std::filesystem::remove_all(beside));
      auto target = open(beside);
      start = Clock::now();
      auto written = succeed(
          writeCheckpoint(*target, name, tries, {.threads = arguments.threads}));
      print({{"case", "checkpoint-write"},
             {"bytes", written.bytes},
             {"nodes", written.nodes},
             {"seconds", secondsSince(start)}});
    }
  }

  void underLoad() {
    testing::ScratchFolder folder;
    auto ledger = openLedger(folder.path());
    load(*ledger);
    for (unsigned round = 0; round < arguments.rounds; ++round) {
      print(setLoad(*ledger, "sets-alone", false));
      print(setLoad(*ledger, "sets-beside-checkpoints", true));
    }
  }

private:
  kj::Own<const kj::Directory> open(const std::string& path) {
    return disk->getRoot().openSubdir(disk->getCurrentPath().evalNative(path.c_str()),
                                      kj::WriteMode::MODIFY);
  }

  kj::Own<Ledger> openLedger(const std::string& path) {
    LedgerOptions options;
    options.forestCapacity = arguments.tries;
    options.checkpoints.keep = 1;
    options.checkpoints.threads = 1;  // As ledgerd on two processors.
    options.checkpoints.distance = 1'000'000;
    return Ledger::open(open(path), path.c_str(), kj::atomicAddRef(*budget), kj::mv(options));
  }

  void load(const Ledger& ledger) {
    auto start = Clock::now();
    state = ledger.initialState();
    for (uint64_t first = 0; first < workload.registers; first += LOAD_SET_SIZE) {
      const auto registers = range(first, std::min(first + LOAD_SET_SIZE, workload.registers));
      set(ledger, registers, 1);
    }
    print({{"case", "load"}, {"registers", workload.registers}, {"seconds", secondsSince(start)}});
  }

  void set(const Ledger& ledger, kj::ArrayPtr<const uint64_t> registers, uint64_t version) {
    const auto keys = workload.keys(registers);
    const auto values = workload.values(registers, version);
    state = succeed(ledger.set(state, keys.items, values.items, nullptr, Stop::never()));
  }

  ordered_json setLoad(const Ledger& ledger, const char* name, bool withCheckpoints) {
    std::atomic<bool> done = false;
    std::atomic<unsigned> checkpoints = 0;
    std::vector<double> milliseconds;
    {
      kj::Thread writer([&]() {
        while (withCheckpoints && !done) {
          succeed(ledger.checkpoint(Stop::never()));
          ++checkpoints;
        }
      });
      auto picks = workload.picks("under-load", ++runs);
      const auto start = Clock::now();
      while (secondsSince(start) < arguments.seconds) {
        const auto registers = picks.distinct(arguments.setSize);
        const auto keys = workload.keys(registers);
        const auto values = workload.values(registers, ++version);
        const auto begun = Clock::now();
        state = succeed(ledger.set(state, keys.items, values.items, nullptr, Stop::never()));
        milliseconds.push_back(secondsSince(begun) * 1000);
      }
      done = true;
    }
    std::sort(milliseconds.begin(), milliseconds.end());
    auto quantile = [&](double q) { return milliseconds[size_t(q * (milliseconds.size() - 1))]; };
    return {{"case", name},          {"set_size", arguments.setSize},
            {"sets", milliseconds.size()}, {"p50_ms", quantile(0.5)},
            {"p99_ms", quantile(0.99)},    {"max_ms", milliseconds.back()},
            {"checkpoints", unsigned(checkpoints)}};
  }

  const Arguments arguments;
  kj::Own<kj::Filesystem> disk = kj::newDiskFilesystem();
  kj::Own<const shm::MemoryBudget> budget;
  const Workload workload;
  RootHash state;
  uint64_t version = 1;
  uint64_t runs = 0;
};

int run(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Checkpoints: time to write and load, and Sets beside them. See the source's head.");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--registers", arguments.registers)->capture_default_str();
  app.add_option("--tries", arguments.tries)->capture_default_str();
  app.add_option("--threads", arguments.threads)->capture_default_str();
  app.add_option("--rounds", arguments.rounds)->capture_default_str();
  app.add_option("--directory", arguments.directory);
  app.add_option("--set-size", arguments.setSize)->capture_default_str();
  app.add_option("--seconds", arguments.seconds)->capture_default_str();
  auto files = app.add_subcommand("files");
  app.add_subcommand("under-load");
  CLI11_PARSE(app, argc, argv);
  Bench bench(arguments);
  if (files->parsed()) {
    bench.files();
  } else {
    bench.underLoad();
  }
  return 0;
}

}  // namespace
}  // namespace ledger::bench

int main(int argc, char** argv) {
  int status = 1;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                              [&]() { status = ledger::bench::run(argc, argv); })) {
    std::cerr << "checkpoint-bench: " << exception->getDescription().cStr() << std::endl;
  }
  return status;
}
