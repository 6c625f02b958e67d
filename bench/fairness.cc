// SPDX-License-Identifier: Apache-2.0
// What one session feels of another's large Prove: the time of single reads while nothing else
// happens, then while another client proves without a break, over shared memory and inline.
//
// Both clients are in this process, each on a thread of its own, so they share the processors with
// each other and with ledgerd: figures of a machine with few of them hold the waiting for one, too.

#include "bench/ledgerd.h"
#include "bench/machine.h"
#include "bench/samples.h"
#include "bench/succeed.h"
#include "bench/workload.h"
#include "client/blocking-client.h"
#include "tests/testing/scratch-folder.h"

#include <CLI/CLI.hpp>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/thread.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <iostream>

namespace ledger::bench {
namespace {

using client::TransportChoice;

struct Flags {
  std::string binary = "server/ledgerd";  // As `bazel run` finds it.
  uint64_t registers = 100'000;
  uint64_t proofs = 1'000'000;  // Of one Prove.
  uint64_t samples = 20'000;    // At least.
  uint64_t proves = 5;          // At least, while those are taken.
};

client::ConnectOptions connectTo(kj::StringPtr socket, TransportChoice transport) {
  client::ConnectOptions to;
  to.address = socket;
  to.connection.name = "fairness"_kj;
  to.connection.transport = transport;
  to.connection.directReads = false;  // Calls are what is measured.
  return to;
}

// Proves the same registers over and over, on a thread of its own.
class Prover final {
public:
  Prover(kj::StringPtr socket, TransportChoice transport, const RootHash& state,
         kj::ArrayPtr<const EncodedKey> keys)
      : client(connectTo(socket, transport)),
        state(state),
        keys(keys),
        thread([this]() { run(); }) {}
  ~Prover() { stopped = true; }

  uint64_t proves() const { return done; }
  uint64_t proofBytes() const { return bytes; }

private:
  void run() {
    while (!stopped) {
      bytes = succeed(client.prove(state, keys)).size();
      ++done;
    }
  }

  client::BlockingClient client;
  const RootHash state;
  const kj::ArrayPtr<const EncodedKey> keys;
  std::atomic<bool> stopped{false};
  std::atomic<uint64_t> done{0}, bytes{0};
  kj::Thread thread;  // Last: it uses the above, and is waited for first.
};

class Fairness final {
public:
  explicit Fairness(const Flags& flags)
      : flags(flags),
        workload{.seed = 1, .registers = flags.registers},
        ledgerd({.binary = flags.binary, .folder = folder.path(), .forestCapacity = 16}) {
    client = client::connect(io.provider->getNetwork(), io.provider->getTimer(),
                             connectTo(ledgerd.socket(), TransportChoice::SHM))
                 .wait(io.waitScope);
    const auto all = range(0, flags.registers);
    const auto values = workload.values(all, 1);
    loaded = workload.keys(all);
    state = succeed(
        client->set(succeed(client->initialState().wait(io.waitScope)), loaded.items, values.items)
            .wait(io.waitScope));
    // In turn, as often as it takes.
    auto builder = kj::heapArrayBuilder<EncodedKey>(flags.proofs);
    for (uint64_t i = 0; i < flags.proofs; ++i) builder.add(loaded.items[i % flags.registers]);
    proven = builder.finish();
  }

  void run() {
    printResult("read-idle", "shm", read([]() { return true; }));
    for (auto transport : {TransportChoice::SHM, TransportChoice::INLINE}) {
      const auto name = transport == TransportChoice::SHM ? "shm"_kj : "inline"_kj;
      auto prover = kj::heap<Prover>(ledgerd.socket(), transport, state, proven);
      // The first one makes the arenas.
      read([&]() { return prover->proves() > 0; });
      const uint64_t before = prover->proves();
      const auto reads = read([&]() { return prover->proves() >= before + flags.proves; });
      printResult("read-beside-prove", name, reads);
      printBytes("proof", name, prover->proofBytes());
    }
    client = nullptr;
    ledgerd.stop();
  }

private:
  // Reads register after register until there are enough samples and `isEnough` says so, too.
  template <typename IsEnough>
  Samples read(IsEnough&& isEnough) {
    Samples samples;
    for (uint64_t i = 0; i < flags.samples || !isEnough(); ++i) {
      auto key = loaded.items[i * 7919 % flags.registers];
      const auto start = Clock::now();
      const auto value = succeed(client->getSingleValue(state, key).wait(io.waitScope));
      samples.add(Clock::now() - start);
      KJ_REQUIRE(value.size() == VALUE_BYTES);
    }
    return samples;
  }

  const Flags flags;
  const Workload workload;
  kj::AsyncIoContext io = kj::setupAsyncIo();
  testing::ScratchFolder folder;
  Ledgerd ledgerd;
  kj::Own<client::LedgerClient> client;
  ByteStrings loaded;
  kj::Array<EncodedKey> proven;
  RootHash state;
};

int run(int argc, char** argv) {
  Flags flags;
  CLI::App app{"Measures single reads beside another client's large Prove."};
  app.add_option("--ledgerd", flags.binary, "program to measure")->capture_default_str();
  app.add_option("--registers", flags.registers, "registers to load")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  app.add_option("--proofs", flags.proofs, "proofs in one Prove")->capture_default_str();
  app.add_option("--samples", flags.samples, "least reads of each case")->capture_default_str();
  app.add_option("--proves", flags.proves, "least Proves beside them")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto machine = describeMachine();
  std::cout << nlohmann::json{{"registers", flags.registers},
                              {"proofs", flags.proofs},
                              {"value_bytes", VALUE_BYTES},
                              {"cpu", machine.cpu.cStr()},
                              {"kernel", machine.kernel.cStr()},
                              {"processors", machine.processors}}
            << std::endl;
  Fairness(flags).run();
  return 0;
}

}  // namespace
}  // namespace ledger::bench

int main(int argc, char** argv) {
  try {
    return ledger::bench::run(argc, argv);
  } catch (const kj::Exception& exception) {
    std::cerr << "fairness: " << kj::str(exception).cStr() << std::endl;
    return 1;
  }
}
