// SPDX-License-Identifier: Apache-2.0
// Drives ledgerd, in a process of its own, with the client library through the cases of cases.txt,
// over shared memory and inline. flow-go/ does the same with flow-go's service and client.
//
// Cases come from a file or from standard input, one a line; what is measured goes to standard
// output as lines of JSON: first the set-up, then a result as soon as its case is over, and after
// each case a line {"done": name}.

#include "bench/machine.h"
#include "bench/service-bench.h"
#include "tests/testing/scratch-folder.h"

#include <CLI/CLI.hpp>
#include <kj/debug.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <iostream>

namespace ledger::bench {
namespace {

struct Flags {
  std::string binary = "server/ledgerd";  // As `bazel run` finds it.
  std::string cases = "bench/cases.txt";
  std::vector<std::string> transports = {"shm", "direct", "inline"};
  uint64_t registers = 100'000;
  uint64_t seed = 1;
  uint32_t forestCapacity = 500;
};

kj::Array<Way> waysOf(const std::vector<std::string>& names) {
  auto result = kj::heapArrayBuilder<Way>(names.size());
  for (auto& name : names) {
    result.add(name == "shm" ? Way::SHM : name == "direct" ? Way::DIRECT : Way::INLINE);
  }
  return result.finish();
}

void printSetUp(const Flags& flags) {
  const auto machine = describeMachine();
  std::cout << nlohmann::json{{"transports", flags.transports},
                              {"registers", flags.registers},
                              {"seed", flags.seed},
                              {"value_bytes", VALUE_BYTES},
                              {"forest", flags.forestCapacity},
                              {"cpu", machine.cpu.cStr()},
                              {"kernel", machine.kernel.cStr()},
                              {"processors", machine.processors},
                              {"hash", machine.hash.cStr()},
                              {"crc32c", machine.crc32c.cStr()}}
            << std::endl;
}

int run(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Measures ledgerd through the client library."};
  app.add_option("--ledgerd", flags.binary, "program to measure")->capture_default_str();
  app.add_option("--cases", flags.cases, "file of cases; - is standard input")
      ->capture_default_str();
  app.add_option("--transports", flags.transports, "which, the first of them for the load")
      ->delimiter(',')
      ->check(CLI::IsMember({"shm", "direct", "inline"}));
  app.add_option("--registers", flags.registers, "registers to load")->capture_default_str();
  app.add_option("--seed", flags.seed, "of keys, values and picks")->capture_default_str();
  app.add_option("--forest", flags.forestCapacity, "tries that ledgerd keeps")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);

  std::ifstream file;
  if (flags.cases != "-") {
    file.open(flags.cases);
    KJ_REQUIRE(file.is_open(), "cannot open", flags.cases.c_str());
  }
  std::istream& lines = flags.cases == "-" ? std::cin : file;

  testing::ScratchFolder folder;
  auto io = kj::setupAsyncIo();
  ServiceBench bench(io, {
                             .workload = {.seed = flags.seed, .registers = flags.registers},
                             .ledgerd = {.binary = flags.binary,
                                         .folder = folder.path(),
                                         .forestCapacity = flags.forestCapacity},
                             .ways = waysOf(flags.transports),
                         });
  printSetUp(flags);
  for (std::string line; std::getline(lines, line);) {
    KJ_IF_MAYBE (found, parseCase(line)) {
      bench.run(*found);
      std::cout << nlohmann::json{{"done", found->name.cStr()}} << std::endl;
    }
  }
  bench.stop();
  return 0;
}

}  // namespace
}  // namespace ledger::bench

int main(int argc, char** argv) {
  try {
    return ledger::bench::run(argc, argv);
  } catch (const kj::Exception& exception) {
    std::cerr << "end-to-end: " << kj::str(exception).cStr() << std::endl;
    return 1;
  }
}
