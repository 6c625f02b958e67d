// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/triedirs.h"

#include "tests/golden/replay.h"
#include "tests/golden/scenario.h"
#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace ledger::golden {

namespace {

using nlohmann::json;
using testing::copyFolder;
using testing::filesOf;
using testing::ScratchFolder;

enum class Checkpoints { KEEP, REMOVE };

void removeCheckpoints(const std::string& folder) {
  for (auto& name : filesOf(folder)) {
    if (name.find("checkpoint") != std::string::npos) {
      std::filesystem::remove(folder + "/" + name);
    }
  }
}

// Runs `body`; a fault in it is a failure of the section, and the ledger is closed either way.
template <typename Body>
void guarded(LedgerUnderTest& ledger, kj::StringPtr what, Report& report, Body&& body) {
  KJ_IF_MAYBE (fault, kj::runCatchingExceptions(body)) {
    report.failed(kj::str(what, " stopped: ", fault->getDescription()));
    kj::runCatchingExceptions([&]() { ledger.close(); });
  }
}

void checkReload(LedgerUnderTest& ledger, const std::string& triedir, const json& expected,
                 Checkpoints checkpoints, kj::StringPtr what, Report& report) {
  ScratchFolder scratch;
  const std::string copy = scratch / "triedir";
  copyFolder(triedir, copy);
  if (checkpoints == Checkpoints::REMOVE) removeCheckpoints(copy);
  const OpenOptions options{expected.at("forest_capacity").get<uint32_t>()};

  if (!expected.at("ok").get<bool>()) {
    // flow-go poisoned this log (known issue 1). Ours refuses it too, and says why.
    auto fault = kj::runCatchingExceptions([&]() {
      ledger.open(copy.c_str(), options);
      ledger.close();
    });
    return report.check(fault != nullptr, kj::str(what, ": opened, where a refusal is due"));
  }
  guarded(ledger, what, report, [&]() {
    ledger.open(copy.c_str(), options);
    compareForest(ledger, expected.at("tries"), what, report);
    ledger.close();
  });
}

kj::Array<RootHash> rootsOf(const json& tries, const char* member) {
  kj::Vector<RootHash> roots;
  for (auto& trie : tries) roots.add(parseHash(member == nullptr ? trie : trie.at(member)));
  return roots.releaseAsArray();
}

bool compareRoots(LedgerUnderTest& ledger, kj::ArrayPtr<const RootHash> expected,
                  kj::StringPtr what, Report& report) {
  auto actual = ledger.states();
  if (actual.size() != expected.size()) {
    report.failed(kj::str(what, ": expected ", expected.size(), " states, got ", actual.size()));
    return false;
  }
  for (size_t i = 0; i < expected.size(); ++i) {
    if (actual[i] != expected[i]) {
      report.failed(kj::str(what, ": state ", i, ": expected ", toHex(expected[i].ptr()), ", got ",
                            toHex(actual[i].ptr())));
      return false;
    }
  }
  report.passed();
  return true;
}

}  // namespace

json readJson(const std::string& file) {
  std::ifstream in(file);
  KJ_REQUIRE(in.is_open(), "cannot open", file.c_str());
  json parsed = json::parse(in, nullptr, false);
  KJ_REQUIRE(!parsed.is_discarded(), "not JSON", file.c_str());
  return parsed;
}

void compareForest(LedgerUnderTest& ledger, const json& tries, kj::StringPtr what, Report& report) {
  auto expected = rootsOf(tries, "root");
  if (!compareRoots(ledger, expected, what, report)) return;
  for (size_t i = 0; i < expected.size(); ++i) {
    KJ_IF_MAYBE (counters, ledger.counters(expected[i])) {
      const auto registers = tries[i].at("reg_count").get<uint64_t>();
      const auto bytes = tries[i].at("reg_size").get<uint64_t>();
      report.check(counters->registers == registers && counters->bytes == bytes,
                   kj::str(what, ": state ", i, ": expected ", registers, " registers of ", bytes,
                           " bytes, got ", counters->registers, " of ", counters->bytes));
    }
  }
}

void checkReloads(LedgerUnderTest& ledger, const std::string& folder, const std::string& triedir,
                  const json& description, Report& report) {
  const std::string path = folder + "/" + triedir;
  for (auto member : {"reload", "reload_capacity_1000", "reload_without_checkpoints"}) {
    if (!description.contains(member)) continue;
    checkReload(ledger, path, description.at(member),
                std::string(member) == "reload_without_checkpoints" ? Checkpoints::REMOVE
                                                                    : Checkpoints::KEEP,
                kj::str(triedir.c_str(), " ", member), report);
  }
  if (description.contains("root_reload")) {
    checkReload(ledger, path + "-root", description.at("root_reload"), Checkpoints::KEEP,
                kj::str(triedir.c_str(), "-root"), report);
  }
}

void checkRegisters(LedgerUnderTest& ledger, const std::string& folder, Report& report) {
  const json description = readJson(folder + "/triedir.json");
  const RootHash state = parseHash(description.at("state_commitment"));
  ScratchFolder scratch;
  copyFolder(folder + "/triedir", scratch / "triedir");

  kj::Vector<Bytes> keys;
  kj::Vector<Blob> values;
  forEachLine(folder + "/registers.jsonl", [&](const json& line, uint32_t) {
    keys.add(encodeGoldenKey(line.at("key")));
    values.add(Blob::parse(line));  // It has "sha256" and "len".
  });

  guarded(ledger, "registers", report, [&]() {
    ledger.open((scratch / "triedir").c_str(), {});
    auto answer = ledger.get(state, viewsOf(keys));
    KJ_SWITCH_ONEOF(answer) {
      KJ_CASE_ONEOF(error, Error) {
        report.failed(kj::str("refused: ", error.message));
      }
      KJ_CASE_ONEOF(read, kj::Array<Bytes>) {
        KJ_REQUIRE(read.size() == values.size());
        for (size_t i = 0; i < read.size(); ++i) {
          report.check(values[i].matches(read[i]),
                       kj::str("register ", i, ": expected ", values[i].describe(), ", got ",
                               describe(read[i])));
        }
      }
    }
    if (description.contains("expected_by_constant")) {
      report.check(
          parseHash(description.at("expected_by_constant")) == state && ledger.hasState(state),
          "the state is not flow-go's constant");
    }
    ledger.close();
  });
}

void checkGoodDirectory(LedgerUnderTest& ledger, const std::string& folder, const json& fault,
                        const json& append, Report& report) {
  const auto name = fault.at("dir").get<std::string>();
  const OpenOptions options{fault.at("forest_capacity").get<uint32_t>()};
  ScratchFolder scratch;
  const std::string copy = scratch / "triedir";
  copyFolder(folder + "/" + name, copy);

  guarded(ledger, name.c_str(), report, [&]() {
    ledger.open(copy.c_str(), options);
    const json& load = fault.at("load");
    compareRoots(ledger, rootsOf(load.at("states"), nullptr), "start", report);

    std::vector<std::string> expected;
    for (auto& file : load.at("files_after_open")) {
      const auto text = file.get<std::string>();
      if (text.find_first_not_of("0123456789") == std::string::npos) expected.push_back(text);
    }
    report.check(testing::segmentsOf(copy) == expected,
                 "the segments after the start are not flow-go's");

    const json& appended = load.at("append_then_reload");
    auto newest = ledger.stateByIndex(-1);
    auto key = encodeGoldenKey(append.at("key"));
    auto value = fromHex(append.at("value").get<std::string>());
    const EncodedKey keys[] = {key};
    const Value values[] = {value};
    auto set = ledger.set(newest.get<RootHash>(), keys, values);
    report.check(set.is<RootHash>() && set.get<RootHash>() == parseHash(appended.at("new_state")),
                 "the state after one more Set is not flow-go's");
    ledger.close();

    ledger.open(copy.c_str(), options);
    compareRoots(ledger, rootsOf(appended.at("reload").at("states"), nullptr), "restart", report);
    ledger.close();
  });
}

}  // namespace ledger::golden
