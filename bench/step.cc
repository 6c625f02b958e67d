// SPDX-License-Identifier: Apache-2.0
#include "bench/step.h"

#include "bench/succeed.h"

#include <kj/debug.h>
#include <kj/vector.h>

namespace ledger::bench {
namespace {

constexpr uint64_t CALLS_IN_TURN = 16;  // Of each of the calls in flight.

class ClientStep : public Step {
public:
  explicit ClientStep(const Target& target)
      : client(target.client),
        workload(target.workload),
        states(target.states),
        waitScope(target.waitScope) {}

protected:
  template <typename T>
  T wait(kj::Promise<Result<T>> promise) {
    return succeed(promise.wait(waitScope));
  }

  static void requireValue(kj::ArrayPtr<const kj::byte> found,
                           kj::ArrayPtr<const kj::byte> written) {
    KJ_REQUIRE(found == written, "a value is not what was written", found.size(), written.size());
  }

  client::LedgerClient& client;
  const Workload& workload;
  States& states;

private:
  kj::WaitScope& waitScope;
};

class InitialState final : public ClientStep {
public:
  using ClientStep::ClientStep;
  void call() override { wait(client.initialState()); }
};

class HasState final : public ClientStep {
public:
  using ClientStep::ClientStep;
  void call() override { KJ_REQUIRE(wait(client.hasState(states.base)), "the base state is gone"); }
};

class GetSingleValue final : public ClientStep {
public:
  GetSingleValue(const Target& target, Picks picks) : ClientStep(target), picks(picks) {}

  void prepare() override {
    value = nullptr;
    of = picks.one();
    key = workload.key(of);
  }
  void call() override { value = wait(client.getSingleValue(states.base, key)); }
  void check() override { requireValue(KJ_ASSERT_NONNULL(value).bytes(), workload.value(of, 1)); }

private:
  Picks picks;
  uint64_t of = 0;
  kj::Array<kj::byte> key;
  kj::Maybe<client::View> value;
};

class Get final : public ClientStep {
public:
  Get(const Target& target, Picks picks, uint64_t size)
      : ClientStep(target), picks(picks), size(size) {}

  void prepare() override {
    values = nullptr;
    registers = picks.distinct(size);
    keys = workload.keys(registers);
  }
  void call() override { values = wait(client.get(states.base, keys.items)); }
  void check() override {
    auto& found = KJ_ASSERT_NONNULL(values);
    for (size_t i = 0; i < size; ++i) requireValue(found[i], workload.value(registers[i], 1));
  }

private:
  Picks picks;
  const uint64_t size;
  kj::Array<uint64_t> registers;
  ByteStrings keys;
  kj::Maybe<client::Values> values;
};

// Single reads in one round trip.
class Batch final : public ClientStep {
public:
  Batch(const Target& target, Picks picks, uint64_t size)
      : ClientStep(target), picks(picks), size(size) {}

  void prepare() override {
    results = nullptr;
    registers = picks.distinct(size);
    keys = workload.keys(registers);
    auto builder = kj::heapArrayBuilder<client::Operation>(size);
    for (auto key : keys.items) {
      builder.add(client::Operation{client::Operation::GetSingleValue{states.base, key}});
    }
    operations = builder.finish();
  }
  void call() override { results = wait(client.batch(operations)); }
  void check() override {
    for (size_t i = 0; i < size; ++i) {
      requireValue(results[i].get<client::View>().bytes(), workload.value(registers[i], 1));
    }
  }

private:
  Picks picks;
  const uint64_t size;
  kj::Array<uint64_t> registers;
  ByteStrings keys;
  kj::Array<client::Operation> operations;
  kj::Array<client::OperationResult> results;
};

// Single reads, `size` of them at a time: each is followed by another until it had its turn.
class InFlight final : public ClientStep {
public:
  InFlight(const Target& target, Picks picks, uint64_t size)
      : ClientStep(target), picks(picks), size(size), waitScope(target.waitScope) {}

  void prepare() override {
    auto registers = kj::heapArray<uint64_t>(calls());
    for (auto& one : registers) one = picks.one();
    keys = workload.keys(registers);
  }
  void call() override {
    auto lines = kj::heapArrayBuilder<kj::Promise<void>>(size);
    for (size_t i = 0; i < size; ++i) lines.add(readAll(i));
    kj::joinPromises(lines.finish()).wait(waitScope);
  }
  uint64_t calls() const override { return size * CALLS_IN_TURN; }

private:
  // The keys from `first` on, each `size` further.
  kj::Promise<void> readAll(size_t first) {
    return client.getSingleValue(states.base, keys.items[first])
        .then([this, first](Result<client::View>&& result) -> kj::Promise<void> {
          const auto value = succeed(kj::mv(result));
          KJ_REQUIRE(value.size() == VALUE_BYTES, "a value of another length", value.size());
          if (first + size < keys.items.size()) return readAll(first + size);
          return kj::READY_NOW;
        });
  }

  Picks picks;
  const uint64_t size;
  kj::WaitScope& waitScope;
  ByteStrings keys;
};

class Prove final : public ClientStep {
public:
  Prove(const Target& target, Picks picks, uint64_t size)
      : ClientStep(target), picks(picks), size(size) {}

  void prepare() override {
    proof = nullptr;
    keys = workload.keys(picks.distinct(size));
  }
  void call() override { proof = wait(client.prove(states.base, keys.items)); }
  void check() override {
    // Each proof holds its payload, among other things.
    const uint64_t found = KJ_ASSERT_NONNULL(proof).size();
    KJ_REQUIRE(found >= size * VALUE_BYTES, "a proof is too short", size, found);
  }

private:
  Picks picks;
  const uint64_t size;
  ByteStrings keys;
  kj::Maybe<client::View> proof;
};

class Set final : public ClientStep {
public:
  Set(const Target& target, Picks picks, uint64_t size)
      : ClientStep(target), picks(picks), size(size) {}

  void prepare() override {
    const auto registers = picks.distinct(size);
    keys = workload.keys(registers);
    values = workload.values(registers, 1 + ++states.sets);
  }
  void call() override { state = wait(client.set(states.tip, keys.items, values.items)); }
  void check() override {
    KJ_REQUIRE(state != states.tip, "a Set of new values left the state as it was");
    states.tip = state;
  }

private:
  Picks picks;
  const uint64_t size;
  ByteStrings keys, values;
  RootHash state;
};

// One value of many bytes; written, off the clock, by whoever is the first to ask for that size.
class LargeValue final : public ClientStep {
public:
  enum class Until { HELD, READ };

  LargeValue(const Target& target, uint64_t size, Until until) : ClientStep(target), until(until) {
    const uint64_t of = workload.registers + size;
    key = workload.key(of);
    const auto written = workload.value(of, 1, size);
    want = sumWords(written);
    length = size;
    auto known = states.largeIn.find(size);
    if (known == states.largeIn.end()) {
      const EncodedKey keys[] = {key};
      const Value values[] = {written};
      states.tip = wait(client.set(states.tip, kj::arrayPtr(keys, 1), kj::arrayPtr(values, 1)));
      known = states.largeIn.emplace(size, states.tip).first;
    }
    state = known->second;
  }

  void prepare() override { value = nullptr; }
  void call() override {
    value = wait(client.getSingleValue(state, key));
    auto& held = KJ_ASSERT_NONNULL(value);
    if (until == Until::READ) sum = sumWords(held.bytes());
    KJ_REQUIRE(held.isIntact(), "the server has taken the value back");
  }
  void check() override {
    const auto found = KJ_ASSERT_NONNULL(value).bytes();
    KJ_REQUIRE(found.size() == length, "a value of another length", found.size(), length);
    KJ_REQUIRE(until == Until::HELD || sum == want, "a value is not what was written");
  }

private:
  // Reads every byte; a rest of less than eight is left out.
  static uint64_t sumWords(kj::ArrayPtr<const kj::byte> bytes) {
    uint64_t total = 0;
    for (size_t i = 0; i + 8 <= bytes.size(); i += 8) {
      uint64_t word;
      memcpy(&word, bytes.begin() + i, sizeof(word));
      total += word;
    }
    return total;
  }

  const Until until;
  kj::Array<kj::byte> key;
  RootHash state;
  uint64_t length, want, sum = 0;
  kj::Maybe<client::View> value;
};

}  // namespace

kj::Own<Step> makeStep(const Case& which, const Target& target, Picks picks) {
  const auto operation = which.operation.asPtr();
  if (operation == "initial-state") return kj::heap<InitialState>(target);
  if (operation == "has-state") return kj::heap<HasState>(target);
  if (operation == "get-single-value") {
    return kj::heap<GetSingleValue>(target, which.size == 0 ? picks : picks.among(which.size));
  }
  if (operation == "batch") return kj::heap<Batch>(target, picks, which.size);
  if (operation == "in-flight") return kj::heap<InFlight>(target, picks, which.size);
  if (operation == "get") return kj::heap<Get>(target, picks, which.size);
  if (operation == "prove") return kj::heap<Prove>(target, picks, which.size);
  if (operation == "set") return kj::heap<Set>(target, picks, which.size);
  if (operation == "value") {
    return kj::heap<LargeValue>(target, which.size, LargeValue::Until::READ);
  }
  if (operation == "value-held") {
    return kj::heap<LargeValue>(target, which.size, LargeValue::Until::HELD);
  }
  KJ_FAIL_REQUIRE("unknown operation", operation);
}

}  // namespace ledger::bench
