// SPDX-License-Identifier: Apache-2.0
// ledgerd's engine in a process of its own, driven line by line, so that a test written in another
// language can open a directory with it, use it, and kill it at any moment.
//
// Standard input holds requests, one JSON object a line; standard output an answer for each, in
// their order. Bytes are hexadecimal; a key is an encoded key without prefix, a state a root hash.
//
//   {"do": "open", "directory": D, "capacity": tries, "segmentSize": bytes,
//    "distance": segments, "keep": checkpoints}      {}
//   {"do": "set", "sets": [{"parent": S, "keys": [...], "values": [...]}, ...]}
//        all at once, each on a thread of its own    {"results": [{"state": S} or a refusal, ...]}
//   {"do": "states"}                                 {"states": [...]}, oldest first
//   {"do": "get", "state": S, "keys": [...]}         {"values": [...]}
//   {"do": "checkpoint"}                             {"number": N} once it is on disk
//   {"do": "idle"}                                   {} once no checkpoint is being written
//   {"do": "warnings"}                               {"warnings": [...]} since they were last asked
//   {"do": "close"}                                  {}
//
// A refusal is {"error": message, "reason": number of error.h's Reason}; what was thrown has no
// reason. The end of the input closes the ledger.

#include "ledger/ledger.h"
#include "tests/testing/await.h"
#include "tests/testing/kept-warnings.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

namespace ledger::interop {
namespace {

using Json = nlohmann::json;
using Bytes = kj::Array<kj::byte>;

// Far above what these tests need, far below what a test machine has.
constexpr uint64_t MEMORY_LIMIT = uint64_t(4) << 30;

std::string toHex(kj::ArrayPtr<const kj::byte> bytes) {
  return kj::encodeHex(bytes).cStr();
}

Bytes fromHex(const Json& json) {
  const auto& text = json.get_ref<const std::string&>();
  auto bytes = kj::decodeHex(kj::arrayPtr(text.data(), text.size()));
  KJ_REQUIRE(!bytes.hadErrors, "not hexadecimal", text.c_str());
  return kj::mv(bytes);
}

kj::Array<Bytes> listFromHex(const Json& json) {
  return KJ_MAP(item, json) { return fromHex(item); };
}

// The same as views: a Keys or a Values of the ledger's.
kj::Array<kj::ArrayPtr<const kj::byte>> viewsOf(kj::ArrayPtr<const Bytes> list) {
  return KJ_MAP(bytes, list) -> kj::ArrayPtr<const kj::byte> { return bytes; };
}

RootHash stateFromHex(const Json& json) {
  auto bytes = fromHex(json);
  KJ_REQUIRE(bytes.size() == RootHash::SIZE, "not a state", bytes.size());
  return RootHash::copyOf(bytes);
}

Json refusal(const Error& error) {
  return {{"error", error.message.cStr()}, {"reason", unsigned(error.reason)}};
}

class Driver final {
public:
  Json answer(const Json& request) {
    const auto& what = request.at("do").get_ref<const std::string&>();
    if (what == "open") return open(request);
    if (what == "set") return set(request);
    if (what == "states") return states();
    if (what == "get") return get(request);
    if (what == "checkpoint") return checkpoint();
    if (what == "idle") return idle();
    if (what == "warnings") return {{"warnings", warnings.take()}};
    if (what == "close") return close();
    KJ_FAIL_REQUIRE("no such request", what.c_str());
  }

private:
  Json open(const Json& request) {
    const auto& directory = request.at("directory").get_ref<const std::string&>();
    LedgerOptions options{.reporter = warnings};
    options.forestCapacity = request.at("capacity");
    options.walSegmentSize = request.at("segmentSize");
    options.checkpoints.distance = request.at("distance");
    options.checkpoints.keep = request.at("keep");
    options.checkpoints.diskReserve = 0;  // Checkpoints here are small.
    auto path = filesystem->getCurrentPath().evalNative(directory.c_str());
    opened = Ledger::open(filesystem->getRoot().openSubdir(path, kj::WriteMode::MODIFY),
                          directory.c_str(),
                          shm::MemoryBudget::create("--memory-limit", MEMORY_LIMIT),
                          kj::mv(options));
    return Json::object();
  }

  Json set(const Json& request) {
    const auto& sets = request.at("sets");
    std::vector<Json> results(sets.size());
    {
      kj::Vector<kj::Own<kj::Thread>> threads;  // Their destructors join them.
      for (size_t i = 0; i < sets.size(); ++i) {
        threads.add(kj::heap<kj::Thread>(
            [this, &update = sets[i], &result = results[i]]() { result = setOne(update); }));
      }
    }
    return {{"results", results}};
  }

  Json setOne(const Json& update) const {
    auto keys = listFromHex(update.at("keys"));
    auto values = listFromHex(update.at("values"));
    auto result = ledger().set(stateFromHex(update.at("parent")), viewsOf(keys), viewsOf(values),
                               nullptr, Stop::never());
    KJ_IF_MAYBE (error, result.tryGet<Error>()) return refusal(*error);
    return {{"state", toHex(result.get<RootHash>().ptr())}};
  }

  Json states() const {
    std::vector<std::string> roots;
    for (auto& root : ledger().states()) roots.push_back(toHex(root.ptr()));
    return {{"states", roots}};
  }

  Json get(const Json& request) const {
    auto keys = listFromHex(request.at("keys"));
    auto result = ledger().get(stateFromHex(request.at("state")), viewsOf(keys), Stop::never());
    KJ_IF_MAYBE (error, result.tryGet<Error>()) return refusal(*error);
    std::vector<std::string> values;
    for (auto value : result.get<Values>().values) values.push_back(toHex(value));
    return {{"values", values}};
  }

  Json checkpoint() const {
    auto result = ledger().checkpoint(Stop::never());
    KJ_IF_MAYBE (error, result.tryGet<Error>()) return refusal(*error);
    return {{"number", result.get<uint64_t>()}};
  }

  Json idle() const {
    testing::await("the checkpoint's end",
                   [&]() { return ledger().stats().checkpoints.running == nullptr; });
    return Json::object();
  }

  Json close() {
    opened = nullptr;
    return Json::object();
  }

  const Ledger& ledger() const { return *KJ_REQUIRE_NONNULL(opened, "no ledger is open"); }

  kj::Own<kj::Filesystem> filesystem = kj::newDiskFilesystem();
  testing::KeptWarnings warnings;
  kj::Maybe<kj::Own<Ledger>> opened;  // Uses `warnings`.
};

int run() {
  Driver driver;
  for (std::string line; std::getline(std::cin, line);) {
    Json answer;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                                [&]() { answer = driver.answer(Json::parse(line)); })) {
      answer = {{"error", exception->getDescription().cStr()}};
    }
    std::cout << answer.dump() << std::endl;
  }
  return 0;
}

}  // namespace
}  // namespace ledger::interop

int main() {
  return ledger::interop::run();
}
