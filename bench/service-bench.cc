// SPDX-License-Identifier: Apache-2.0
#include "bench/service-bench.h"

#include "bench/core-ledger.h"
#include "bench/succeed.h"
#include "ledger/hash/sha3.h"
#include "ledger/proof/verify.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iostream>

namespace ledger::bench {
namespace {

constexpr uint64_t CORE_SET_SIZE = 10'000;
constexpr uint64_t FINGERPRINT_REGISTERS = 100;

kj::StringPtr nameOf(Way way) {
  switch (way) {
    case Way::SHM:
      return "shm"_kj;
    case Way::INLINE:
      return "inline"_kj;
    case Way::DIRECT:
      return "direct"_kj;
  }
  KJ_UNREACHABLE;
}

// Whether a client that may reads registers in the store for it.
bool isDirect(kj::StringPtr operation) {
  return operation == "get-single-value" || operation == "get" || operation.startsWith("value");
}

// One unrecorded sample for each ten recorded ones comes first.
template <typename Prepare, typename Call, typename Check>
Samples measure(const Case& which, uint64_t calls, Prepare&& prepare, Call&& call, Check&& check) {
  KJ_CONTEXT(which.name);
  Samples samples;
  const uint64_t unrecorded = which.samples / 10 + 1;
  for (uint64_t i = 0; i < unrecorded + which.samples; ++i) {
    prepare();
    const auto start = Clock::now();
    call();
    const auto elapsed = Clock::now() - start;
    check();
    if (i >= unrecorded) samples.add(elapsed / calls);
  }
  return samples;
}

}  // namespace

ServiceBench::ServiceBench(kj::AsyncIoContext& io, Options given)
    : io(io), options(kj::mv(given)), workload(options.workload) {
  ledgerd = kj::heap<Ledgerd>(options.ledgerd);
  connect();
}

void ServiceBench::connect() {
  for (auto way : options.ways) {
    client::ConnectOptions to;
    to.address = ledgerd->socket();
    to.connection.name = "end-to-end"_kj;
    to.connection.transport =
        way == Way::INLINE ? client::TransportChoice::INLINE : client::TransportChoice::SHM;
    to.connection.storeViews = true;
    to.connection.directReads = way == Way::DIRECT;
    connections.add(Connection{
        way, nameOf(way), client::connect(io.provider->getNetwork(), io.provider->getTimer(), to)
                              .wait(io.waitScope)});
  }
}

void ServiceBench::run(const Case& which) {
  // The loop's clock stands still while nothing runs on the loop, and cases may be minutes apart:
  // a time limit that was counted from then would be over before its call was sent.
  io.waitScope.poll();

  const auto operation = which.operation.asPtr();
  if (operation == "load") return load(which);
  if (operation == "restart") return restart(which);
  if (operation == "core-read") return coreRead(which);
  if (operation == "memory") {
    return printBytes(which.name, connections[0].name, ledgerd->memory());
  }
  for (auto& connection : connections) {
    if (connection.way == Way::DIRECT && !isDirect(operation)) continue;
    auto step =
        makeStep(which, {*connection.client, io.waitScope, workload, states}, nextPicks(which));
    printResult(which.name, connection.name,
                measure(
                    which, step->calls(), [&] { step->prepare(); }, [&] { step->call(); },
                    [&] { step->check(); }));
  }
}

void ServiceBench::stop() {
  connections.clear();
  ledgerd->stop();
}

Picks ServiceBench::nextPicks(const Case& which) {
  return workload.picks(which.name, runs[which.name.cStr()]++);
}

template <typename T>
T ServiceBench::wait(kj::Promise<Result<T>> promise) {
  return succeed(promise.wait(io.waitScope));
}

void ServiceBench::load(const Case& which) {
  auto& client = *connections[0].client;
  auto state = wait(client.initialState());
  Samples samples;
  for (uint64_t first = 0; first < workload.registers; first += which.size) {
    const auto registers = range(first, std::min(first + which.size, workload.registers));
    const auto keys = workload.keys(registers);
    const auto values = workload.values(registers, 1);
    const auto start = Clock::now();
    state = wait(client.set(state, keys.items, values.items));
    samples.add((Clock::now() - start) / registers.size());
  }
  states.base = states.tip = state;
  printResult(which.name, connections[0].name, samples);
  printFingerprint();
}

// Tells the base state and the hash of a proof, so that two ledgers under comparison can be seen to
// hold the same, byte for byte.
void ServiceBench::printFingerprint() {
  const auto keys = workload.keys(range(0, std::min(FINGERPRINT_REGISTERS, workload.registers)));
  const auto proof = wait(connections[0].client->prove(states.base, keys.items)).copy();
  const auto proven = succeed(verifyBatch(states.base, proof, Strictness::STRICT));
  KJ_IF_MAYBE (error, coversExactly(proven, keys.items)) {
    KJ_FAIL_REQUIRE("the proof is of other registers", error->message);
  }
  std::cout << nlohmann::json{{"transport", connections[0].name.cStr()},
                              {"base", kj::encodeHex(states.base.ptr()).cStr()},
                              {"proof_sha3", kj::encodeHex(hash::sha3(proof).ptr()).cStr()}}
            << std::endl;
}

void ServiceBench::restart(const Case& which) {
  stop();
  Samples samples;
  const auto start = Clock::now();
  ledgerd = kj::heap<Ledgerd>(options.ledgerd);
  connect();
  wait(connections[0].client->initialState());
  samples.add(Clock::now() - start);
  printResult(which.name, connections[0].name, samples);
  KJ_REQUIRE(wait(connections[0].client->hasState(states.base)),
             "the base state did not survive the restart");
}

void ServiceBench::coreRead(const Case& which) {
  const CoreLedger core(workload, CORE_SET_SIZE);
  KJ_REQUIRE(core.base() == states.base, "the local ledger came to another state",
             kj::encodeHex(core.base().ptr()), kj::encodeHex(states.base.ptr()));
  const auto trie = succeed(core.ledger().pin(core.base()));

  auto picks = nextPicks(which);
  kj::Array<kj::byte> key;
  Value value;
  auto samples = measure(
      which, 1, [&] { key = workload.key(picks.one()); },
      [&] { value = succeed(Ledger::getSingleValue(*trie, key)); },
      [&] { KJ_REQUIRE(value.size() == VALUE_BYTES, "a value of another length", value.size()); });
  printResult(which.name, "core"_kj, samples);
}

}  // namespace ledger::bench
