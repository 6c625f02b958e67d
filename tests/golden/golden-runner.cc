// SPDX-License-Identifier: Apache-2.0
// Compares a ledger with flow-go's golden data: see tools/golden.
//
//   golden-runner [--ledgerd PROGRAM] [--ways core,shm,direct,inline,grpc] DIRECTORY...
//   golden-runner --attach SOCKET SCENARIO
//
// The first form runs directories of golden data; without --ledgerd only the core is tested. The
// second replays one scenario through a ledgerd that is already serving, as a fork of its own among
// that server's states, with a progress bar: quickstart's tour.

#include "tests/golden/core-ledger.h"
#include "tests/golden/daemon-ledger.h"
#include "tests/golden/golden-sets.h"
#include "tests/golden/grpc-calls.h"
#include "tests/golden/progress-bar.h"
#include "tests/golden/replay.h"

#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/vector.h>

#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

namespace ledger::golden {

namespace {

constexpr char USAGE[] =
    "usage: golden-runner [--ledgerd PROGRAM] [--ways core,shm,direct,inline,grpc] DIRECTORY...\n"
    "       golden-runner --attach SOCKET SCENARIO\n";

struct Arguments {
  std::string ledgerd, socket;
  std::string ways = "core,shm,direct,inline,grpc";
  std::vector<std::string> operands;
};

kj::Maybe<Arguments> parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    std::string* value = word == "--ledgerd"  ? &arguments.ledgerd
                         : word == "--ways"   ? &arguments.ways
                         : word == "--attach" ? &arguments.socket
                                              : nullptr;
    if (value != nullptr) {
      if (++i == argc) return nullptr;
      *value = argv[i];
    } else if (word.starts_with("-")) {
      return nullptr;
    } else {
      arguments.operands.push_back(word);
    }
  }
  if (arguments.operands.empty()) return nullptr;
  if (!arguments.socket.empty() && arguments.operands.size() != 1) return nullptr;
  return kj::mv(arguments);
}

int runDirectories(const Arguments& arguments, kj::AsyncIoContext& io) {
  Report report;
  kj::Vector<kj::Own<LedgerUnderTest>> ways;
  bool grpc = false;
  std::istringstream names(arguments.ways);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "core") {
      ways.add(newCoreLedger());
    } else if (name == "shm" || name == "direct" || name == "inline" || name == "grpc") {
      if (arguments.ledgerd.empty()) {
        report.skipped(kj::str("ledgerd, ", name.c_str()), "no --ledgerd given");
      } else if (name == "grpc") {
        grpc = true;
      } else {
        ways.add(newDaemonLedger(io, arguments.ledgerd,
                                 name == "shm"      ? Way::SHM
                                 : name == "direct" ? Way::DIRECT
                                                    : Way::INLINE));
      }
    } else {
      fprintf(stderr, "golden-runner: unknown way: %s\n%s", name.c_str(), USAGE);
      return 2;
    }
  }
  auto onGrpcCalls = [&](const std::string& folder) {
    if (grpc) runGrpcCalls(io, arguments.ledgerd, folder, report);
  };
  for (auto& directory : arguments.operands) runGolden(directory, ways, report, onGrpcCalls);
  return report.finish();
}

int attach(const Arguments& arguments, kj::AsyncIoContext& io) {
  const std::string& scenario = arguments.operands[0];
  uint64_t blocks = 0;
  readScenario(scenario, [&blocks](const Step& step) { blocks += step.op == Op::BLOCK; });

  auto ledger = attachToLedgerd(io, arguments.socket, Way::SHM);
  Report report;
  report.section("answers equal to flow-go's");
  {
    // Block 0 is the bootstrap, so the last block's number is the number of blocks.
    ProgressBar bar("blocks", blocks > 0 ? blocks - 1 : 0);
    uint64_t block = 0;
    replay(*ledger, {scenario, "", "", Forest::SHARED}, report, [&](const Step& step) {
      if (step.op != Op::BLOCK) return;
      const auto& text = step.description;
      bar.advance(block++, text.substr(std::min(text.find(": ") + 2, text.size())).c_str());
    });
  }
  return report.finish();
}

}  // namespace

}  // namespace ledger::golden

int main(int argc, char** argv) {
  using namespace ledger::golden;
  KJ_IF_MAYBE (arguments, parse(argc, argv)) {
    int exitCode = 1;
    KJ_IF_MAYBE (fault, kj::runCatchingExceptions([&]() {
                   auto io = kj::setupAsyncIo();
                   exitCode = arguments->socket.empty() ? runDirectories(*arguments, io)
                                                        : attach(*arguments, io);
                 })) {
      fprintf(stderr, "golden-runner: %s\n", kj::str(*fault).cStr());
      return 1;
    }
    return exitCode;
  }
  fputs(USAGE, stderr);
  return 2;
}
