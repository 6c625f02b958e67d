// SPDX-License-Identifier: Apache-2.0
#include "server/operations.h"

#include "schema/packed-list.h"
#include "server/call-meters.h"
#include "server/log-fields.h"
#include "server/rpc-errors.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

// A request's packed list, checked, with room for its views in the budget.
struct Items {
  shm::Reservation reservation;
  kj::Array<Bytes> views;
};

Result<Items> itemsOf(const RequestBody& body, uint64_t maxItemLength,
                      const shm::MemoryBudget& budget) {
  auto parsed = rpc::PackedList::parse(body.content(), maxItemLength);
  if (parsed.is<rpc::BadPayload>()) return toError(kj::mv(parsed.get<rpc::BadPayload>()));
  auto& list = parsed.get<rpc::PackedList>();
  auto reserved = budget.reserve(list.viewBytes());
  if (reserved.is<shm::Shortage>()) return outOfMemory(reserved.get<shm::Shortage>());
  return Items{kj::mv(reserved.get<shm::Reservation>()), list.items()};
}

// Executes one operation at a time.
class Executor {
public:
  Executor(const Ledger& ledger, const shm::MemoryBudget& budget, const Stop& stop)
      : ledger(ledger), budget(budget), stop(stop) {}

  Result<PayloadSource> getSingleValue(const Operation& operation) const {
    auto pinned = ledger.pin(operation.state);
    if (pinned.is<Error>()) return kj::mv(pinned.get<Error>());
    auto& trie = pinned.get<kj::Own<const Trie>>();
    auto value = ledger.readSingleValue(*trie, operation.keys.content());
    if (value.is<Error>()) return kj::mv(value.get<Error>());
    return PayloadSource(OneValue{kj::mv(trie), value.get<Value>()});
  }

  Result<PayloadSource> get(const Operation& operation) const {
    auto keys = itemsOf(operation.keys, MAX_KEY_SIZE, budget);
    if (keys.is<Error>()) return kj::mv(keys.get<Error>());
    auto values = ledger.get(operation.state, keys.get<Items>().views, stop);
    if (values.is<Error>()) return kj::mv(values.get<Error>());
    return PayloadSource(kj::mv(values.get<Values>()));
  }

  Result<PayloadSource> prove(const Operation& operation, uint64_t maxPayload) const {
    auto keys = itemsOf(operation.keys, MAX_KEY_SIZE, budget);
    if (keys.is<Error>()) return kj::mv(keys.get<Error>());
    auto proof = ledger.prove(operation.state, keys.get<Items>().views, stop, maxPayload);
    if (proof.is<Error>()) return kj::mv(proof.get<Error>());
    return PayloadSource(kj::mv(proof.get<BatchProof>()));
  }

  Answer set(const Operation& operation) const {
    auto keys = itemsOf(operation.keys, MAX_KEY_SIZE, budget);
    if (keys.is<Error>()) return kj::mv(keys.get<Error>());
    auto values = itemsOf(operation.values, MAX_VALUE_SIZE, budget);
    if (values.is<Error>()) return kj::mv(values.get<Error>());
    auto& keyViews = keys.get<Items>().views;
    auto& valueViews = values.get<Items>().views;
    if (keyViews.size() != valueViews.size()) {
      return makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, keyViews.size(), " keys and ",
                       valueViews.size(), " values");
    }
    auto id = operation.id.map([](const SetId& id) { return id; });
    auto state = ledger.set(operation.state, keyViews, valueViews, kj::mv(id), stop);
    if (state.is<Error>()) return kj::mv(state.get<Error>());
    logUpdate(operation.state, state.get<RootHash>(), keyViews.size());
    return state.get<RootHash>();
  }

private:
  const Ledger& ledger;
  const shm::MemoryBudget& budget;
  const Stop& stop;
};

uint64_t sizeOf(const PayloadSource& source) {
  KJ_SWITCH_ONEOF(source) {
    KJ_CASE_ONEOF(one, OneValue) {
      return one.value.size();
    }
    KJ_CASE_ONEOF(values, Values) {
      return rpc::packedListSize(values.values);
    }
    KJ_CASE_ONEOF(proof, BatchProof) {
      return proof.encodedSize();
    }
  }
  KJ_UNREACHABLE;
}

void writeTo(const PayloadSource& source, kj::ArrayPtr<kj::byte> out) {
  KJ_SWITCH_ONEOF(source) {
    KJ_CASE_ONEOF(one, OneValue) {
      if (out.size() > 0) memcpy(out.begin(), one.value.begin(), out.size());
    }
    KJ_CASE_ONEOF(values, Values) {
      rpc::writePackedList(values.values, out);
    }
    KJ_CASE_ONEOF(proof, BatchProof) {
      proof.encode(out);
    }
  }
}

// Brings the bodies that lie in a client's arena.
kj::Maybe<Error> fetch(Operation& operation, const Stop& stop) {
  KJ_IF_MAYBE (error, operation.keys.fetch(stop)) return kj::mv(*error);
  return operation.values.fetch(stop);
}

}  // namespace

Answers Answers::execute(const Ledger& ledger, kj::Array<Result<Operation>> operations,
                         uint64_t maxPayload, const shm::MemoryBudget& budget,
                         const CallMeters& meters, const Stop& stop) {
  const Executor executor(ledger, budget, stop);
  Answers result;
  result.answers.reserve(operations.size());
  auto executeOne = [&](Operation operation) {
    KJ_IF_MAYBE (error, fetch(operation, stop)) {
      result.answers.add(kj::mv(*error));
      return;
    }
    // After the bodies have been read: a client that drops its call may change them.
    if (stop.requested()) {
      result.answers.add(makeError(Code::CANCELLED, Reason::CANCELLED, "the call was dropped"));
      return;
    }
    switch (operation.kind) {
      case Operation::Kind::INITIAL_STATE:
        result.answers.add(ledger.initialState());
        break;
      case Operation::Kind::HAS_STATE:
        result.answers.add(ledger.hasState(operation.state));
        break;
      case Operation::Kind::GET_SINGLE_VALUE:
        result.add(executor.getSingleValue(operation), maxPayload);
        break;
      case Operation::Kind::GET:
        result.add(executor.get(operation), maxPayload);
        break;
      case Operation::Kind::SET:
        result.answers.add(executor.set(operation));
        break;
      case Operation::Kind::PROVE:
        result.add(executor.prove(operation, maxPayload - result.size), maxPayload);
        break;
    }
  };
  for (auto& asked : operations) {
    if (asked.is<Error>()) {
      result.answers.add(kj::mv(asked.get<Error>()));
      continue;
    }
    const auto kind = asked.get<Operation>().kind;
    const Stopwatch watch;
    executeOne(kj::mv(asked.get<Operation>()));  // Its bodies are freed when it is done.
    meters.add(CallMeters::Face::CAPNP, kind, watch.elapsed());
    KJ_IF_MAYBE (error, result.answers.back().tryGet<Error>()) {
      meters.addError(CallMeters::Face::CAPNP, kind, error->code);
    }
  }
  return result;
}

Answers Answers::refusal(size_t count, const Error& error) {
  Answers result;
  for (size_t index = 0; index < count; ++index) result.answers.add(error.clone());
  return result;
}

void Answers::add(Result<PayloadSource> source, uint64_t maxPayload) {
  if (source.is<Error>()) {
    answers.add(kj::mv(source.get<Error>()));
    return;
  }
  const uint64_t length = sizeOf(source.get<PayloadSource>());
  if (length > maxPayload - size) {
    answers.add(makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a reply of ", size + length,
                          " bytes is over --max-response-size, ", maxPayload));
    return;
  }
  answers.add(Payload{size, length});
  sources.add(kj::mv(source.get<PayloadSource>()));
  size += length;
}

kj::Maybe<Answers::Stored> Answers::stored() const {
  if (sources.size() != 1) return nullptr;
  KJ_SWITCH_ONEOF(sources[0]) {
    KJ_CASE_ONEOF(one, OneValue) {
      return Stored{*one.trie, kj::arrayPtr(&one.value, 1), Stored::Form::VALUE};
    }
    KJ_CASE_ONEOF(values, Values) {
      if (values.values.size() == 0) return nullptr;  // Of no trie.
      return Stored{*values.trie, values.values, Stored::Form::PACKED_LIST};
    }
    KJ_CASE_ONEOF(proof, BatchProof) {
      return nullptr;
    }
  }
  KJ_UNREACHABLE;
}

void Answers::write(kj::ArrayPtr<kj::byte> out) const {
  KJ_REQUIRE(out.size() == size, "wrong room for a reply", out.size(), size);
  auto source = sources.begin();
  for (auto& answer : answers) {
    KJ_IF_MAYBE (payload, answer.tryGet<Payload>()) {
      writeTo(*source++, out.slice(payload->offset, payload->offset + payload->length));
    }
  }
}

void logUpdate(const RootHash& from, const RootHash& to, size_t registers) {
  if (!spdlog::should_log(spdlog::level::debug)) return;
  logFields(spdlog::level::debug, "ledger updated",
            {{"from", kj::encodeHex(from.ptr()).cStr()},
             {"to", kj::encodeHex(to.ptr()).cStr()},
             {"update_size", registers}});
}

void Answers::refusePayloads(const Error& error) {
  for (auto& answer : answers) {
    if (answer.is<Payload>()) answer = error.clone();
  }
  sources.clear();
  size = 0;
}

}  // namespace ledger::server
