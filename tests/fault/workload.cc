// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/workload.h"

#include "tests/testing/await.h"
#include "tests/testing/registers.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger::testing {

namespace {

constexpr uint64_t SEGMENT_SIZE = 32768;
constexpr uint64_t MEMORY_LIMIT = uint64_t(64) << 20;
constexpr uint64_t REGISTERS = 8;  // Numbers below that.
constexpr uint64_t OTHER_REGISTER = 100;

constexpr int INITIAL = PlannedSet::INITIAL;
using Kind = Action::Kind;

std::string valueFor(int set, uint64_t number, size_t length) {
  auto bytes = valueOf(1000 * (set + 1) + number, length);
  return std::string(bytes.asChars().begin(), bytes.size());
}

// One update, in the form that a ledger takes.
class Update {
public:
  void add(uint64_t number, std::string value) {
    keyBytes.push_back(keyOf(number));
    valueBytes.push_back(std::move(value));
  }
  Result<RootHash> apply(const Ledger& ledger, const RootHash& state) {
    std::vector<EncodedKey> keys(keyBytes.begin(), keyBytes.end());
    std::vector<Value> values;
    for (auto& bytes : valueBytes) {
      values.push_back(kj::StringPtr(bytes.c_str(), bytes.size()).asBytes());
    }
    return ledger.set(state, kj::arrayPtr(keys.data(), keys.size()),
                      kj::arrayPtr(values.data(), values.size()), nullptr, Stop::never());
  }

private:
  std::vector<kj::Array<kj::byte>> keyBytes;
  std::vector<std::string> valueBytes;
};

}  // namespace

LedgerOptions workloadOptions(const Reporter& reporter, const Setting& setting) {
  LedgerOptions options{.reporter = reporter};
  options.walSync = setting.walSync;
  options.threads = 1;  // Sets are small, and thousands of ledgers are opened.
  options.forestCapacity = FOREST_CAPACITY;
  options.walSegmentSize = SEGMENT_SIZE;
  options.checkpoints.distance = setting.checkpointDistance;
  options.checkpoints.keep = 1;
  options.checkpoints.threads = 1;
  options.checkpoints.diskReserve = 0;
  options.checkpoints.superfluous = CheckpointPolicy::Superfluous::REMOVE;
  return options;
}

kj::Own<Ledger> openLedger(kj::Own<const kj::Directory> directory, const Reporter& reporter,
                           const Setting& setting, LedgerOptions::Damage damage) {
  auto options = workloadOptions(reporter, setting);
  options.damage = damage;
  return Ledger::open(kj::mv(directory), "simulated",
                      shm::MemoryBudget::create("--memory-limit", MEMORY_LIMIT), kj::mv(options));
}

void awaitIdle(const Ledger& ledger) {
  await("the checkpoint's end", [&]() { return ledger.stats().checkpoints.running == nullptr; });
}

Workload::Workload(Setting settingParam) : setting(settingParam) {
  // Three Sets fill a segment, or fewer. Forks: 4 updates the state that 3 did, 8 that of 7.
  plan = {
      {INITIAL, {{0, 3000}, {1, 40}, {2, 5000}}},
      {0, {{3, 7000}, {1, 60}}},
      {1, {{4, 9000}}},  // The torn one.
      {1, {{0, 5000}, {4, 4100}}},
      {1, {{1, 9000}, {5, 0}}},
      {4, {{2, 0}, {6, 8000}}},
      {5, {{7, 6000}, {0, 2500}}},
      {6, {{3, 0}, {1, 9500}}},
      {6, {{1, 9}}},  // A record short enough to be cut at every byte.
      {8, {{5, 12000}, {2, 1}}},
      {9, {{6, 20000}}},
      {10, {{0, 11000}, {7, 0}}},
      {11, {{4, 16000}}},
      {12, {{4, 1}, {3, 800}}},
  };
  setsBefore = {0, 1};

  for (int i = 0; i < int(plan.size()); ++i) {
    auto& parent = plan[i].parent;
    contents.push_back(parent == INITIAL ? std::map<uint64_t, std::string>() : contents[parent]);
    for (auto& [number, length] : plan[i].registers) {
      contents[i][number] = valueFor(i, number, length);
    }
  }

  // A clean run, with room for all states.
  SimulatedDisk clean;
  auto options = workloadOptions(Reporter::silent(), setting);
  options.forestCapacity = 100;
  auto ledger = Ledger::open(clean.directory(), "simulated",
                             shm::MemoryBudget::create("--memory-limit", MEMORY_LIMIT),
                             kj::mv(options));
  initial = ledger->initialState();
  states.resize(plan.size());
  for (int i = 0; i < int(plan.size()); ++i) {
    auto result = set(*ledger, i);
    KJ_REQUIRE(result.is<RootHash>(), i, result.get<Error>().message);
    states[i] = result.get<RootHash>();
    if (i == 2) {
      // All three are in the first segment, which is the log that the tests begin with.
      diskBefore["00000000"] = clean.now()["00000000"];
    }
    awaitIdle(*ledger);
  }

  auto& log = diskBefore["00000000"];
  // 9,000 bytes of value and some more; the last 500 never reached the disk.
  tornBytes = log.substr(log.size() - 9000, 8500);
  log.resize(log.size() - 500);
  diskBefore["checkpoint.00000000.000"] = "a part";
  diskBefore["writing-checkpoint.00000000.001-4711"] = "half a part";

  for (int i = 3; i < int(plan.size()); ++i) {
    if (i == 8) actions.push_back({Kind::CHECKPOINT});
    if (i == 10) actions.push_back({Kind::RESTART});
    actions.push_back({Kind::SET, i});
  }
}

Result<RootHash> Workload::set(const Ledger& ledger, int number) const {
  Update update;
  for (auto& [reg, length] : plan[number].registers) update.add(reg, valueFor(number, reg, length));
  const int parent = plan[number].parent;
  return update.apply(ledger, parent == INITIAL ? initial : states[parent]);
}

Result<RootHash> Workload::setAnother(const Ledger& ledger, const RootHash& state) const {
  Update update;
  update.add(OTHER_REGISTER, "another");
  return update.apply(ledger, state);
}

const RootHash& Workload::state(int set) const {
  return set == INITIAL ? initial : states[set];
}

std::vector<RootHash> Workload::forest(const std::vector<int>& sets) const {
  std::vector<RootHash> result = {initial};
  for (int set : sets) {
    if (std::count(result.begin(), result.end(), states[set]) > 0) continue;
    if (result.size() == FOREST_CAPACITY) result.erase(result.begin());
    result.push_back(states[set]);
  }
  return result;
}

std::string Workload::compareValues(const Ledger& ledger) const {
  kj::Vector<kj::Array<kj::byte>> keyBytes;
  for (uint64_t number = 0; number < REGISTERS; ++number) keyBytes.add(keyOf(number));
  auto keys = KJ_MAP(bytes, keyBytes)->EncodedKey {
    return bytes;
  };
  for (int i = 0; i < int(states.size()); ++i) {
    if (!ledger.hasState(states[i])) continue;
    auto result = ledger.get(states[i], keys, Stop::never());
    if (result.is<Error>()) return result.get<Error>().message.cStr();
    auto& values = result.get<Values>().values;
    for (uint64_t number = 0; number < REGISTERS; ++number) {
      auto found = contents[i].find(number);
      const std::string expected = found == contents[i].end() ? "" : found->second;
      if (kj::StringPtr(expected.c_str(), expected.size()).asBytes() != values[number]) {
        return kj::str("register ", number, " of the state of Set ", i, " is another").cStr();
      }
    }
  }
  return "";
}

}  // namespace ledger::testing
