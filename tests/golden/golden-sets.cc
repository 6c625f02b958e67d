// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/golden-sets.h"

#include "tests/golden/large-set.h"
#include "tests/golden/replay.h"
#include "tests/golden/segments.h"
#include "tests/golden/triedirs.h"
#include "tests/golden/vectors/vectors.h"
#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>

namespace ledger::golden {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::filesOf;
using testing::ScratchFolder;

namespace {

using Ways = kj::ArrayPtr<kj::Own<LedgerUnderTest>>;
using OnGrpcCalls = kj::ConstFunction<void(const std::string& folder)>;

bool has(const std::string& folder, const char* file) {
  return fs::exists(folder + "/" + file);
}

std::string nameOfFolder(const std::string& folder) {
  return fs::path(folder).filename();
}

// "scenario-small/scenario.jsonl, core"
void section(const std::string& folder, const std::string& what, LedgerUnderTest& way,
             Report& report) {
  report.section(kj::str(nameOfFolder(folder).c_str(), "/", what.c_str(), ", ", way.name()));
}

// What flow-go left after a scenario: its name, and the JSON beside it. An empty name: nothing.
struct Aftermath {
  std::string triedir;
  json description;
};

// The description says which scenario it is about: "state of the ledger after scenario.jsonl".
Aftermath aftermathOf(const std::string& folder, const std::string& scenario) {
  for (auto& name : filesOf(folder)) {
    if (!name.starts_with("triedir") || !name.ends_with(".json")) continue;
    json description = readJson(folder + "/" + name);
    const std::string about = description.value("what", "");
    if (about.find(" after " + scenario) != std::string::npos)
      return {name.substr(0, name.size() - 5), description};
  }
  // wal-faults: the directory of the same name, which faults.json describes.
  const auto stem = scenario.substr(0, scenario.rfind('.'));
  if (fs::is_directory(folder + "/" + stem)) return {stem, {}};
  return {};
}

// Replays one scenario, compares the log that came out, and starts again on it.
void runScenario(const std::string& folder, const std::string& scenario, LedgerUnderTest& way,
                 Report& report) {
  section(folder, scenario, way, report);
  ScratchFolder scratch;
  const std::string ours = scratch / "ledger";
  fs::create_directory(ours);
  auto replayed = replay(way, {folder + "/" + scenario, folder, ours}, report);
  const auto aftermath = aftermathOf(folder, scenario);
  if (!replayed.finished || !replayed.ownSegments || aftermath.triedir.empty()) return;

  section(folder, scenario + ": the log", way, report);
  const std::string flowGo = folder + "/" + aftermath.triedir;
  auto fault = kj::runCatchingExceptions([&]() {
    if (replayed.refusedRecords.empty()) {
      compareSegments(flowGo, ours, report);
    } else {
      compareRecords(flowGo, ours, replayed.refusedRecords, report);
    }
    if (aftermath.description.contains("tries_at_close")) {
      // The forest after a restart is the forest before it.
      way.open(ours.c_str(), {replayed.forestCapacity, replayed.walSegmentSize});
      compareForest(way, aftermath.description.at("tries_at_close"), "after a restart", report);
      way.close();
    }
  });
  KJ_IF_MAYBE (what, fault) {
    report.failed(kj::str("stopped: ", what->getDescription()));
    kj::runCatchingExceptions([&]() { way.close(); });
  }
}

void runWalFaults(const std::string& folder, Ways ways, Report& report) {
  const json faults = readJson(folder + "/faults.json");
  for (auto& fault : faults.at("faults")) {
    const auto name = fault.at("dir").get<std::string>();
    if (!name.starts_with("good-")) {
      report.skipped(kj::str(nameOfFolder(folder).c_str(), "/", name.c_str()),
                     "starts on damaged files are not judged here");
      continue;
    }
    for (auto& way : ways) {
      section(folder, name, *way, report);
      checkGoodDirectory(*way, folder, fault, faults.at("append"), report);
    }
  }
}

void runVectorFiles(const std::string& folder, Report& report) {
  report.section(nameOfFolder(folder).c_str());
  auto result = runVectors(folder.c_str());
  report.passed(result.passed);
  for (auto& failure : result.failures) report.failed(failure);
  for (auto& skip : result.skipped) report.skipped(skip, "vectors");
}

// False: there is nothing here that the runner knows.
bool runSet(const std::string& folder, Ways ways, Report& report, const OnGrpcCalls& onGrpcCalls) {
  bool known = false;
  if (has(folder, "hash.jsonl") || has(folder, "encodings.jsonl")) {
    known = true;
    runVectorFiles(folder, report);
  }
  if (has(folder, "sets.bin")) {
    known = true;
    for (auto& way : ways) {
      section(folder, "sets.bin", *way, report);
      runLargeSet(*way, folder, report);
    }
  }
  const bool isWalFaults = has(folder, "faults.json");
  for (auto& file : filesOf(folder)) {
    const bool isScenario =
        file.ends_with(".jsonl") &&
        (file.starts_with("scenario") || (isWalFaults && file.starts_with("good-")));
    if (isScenario) {
      known = true;
      for (auto& way : ways) runScenario(folder, file, *way, report);
    }
    if (file.starts_with("triedir") && file.ends_with(".json") && !has(folder, "sets.bin")) {
      known = true;
      const auto triedir = file.substr(0, file.size() - 5);
      const json description = readJson(folder + "/" + file);
      for (auto& way : ways) {
        section(folder, triedir, *way, report);
        checkReloads(*way, folder, triedir, description, report);
      }
    }
  }
  if (has(folder, "registers.jsonl")) {
    known = true;
    for (auto& way : ways) {
      section(folder, "registers.jsonl", *way, report);
      checkRegisters(*way, folder, report);
    }
  }
  if (isWalFaults) {
    known = true;
    runWalFaults(folder, ways, report);
  }
  if (has(folder, "calls.jsonl")) {
    known = true;
    onGrpcCalls(folder);
  }
  return known;
}

}  // namespace

void runGolden(const std::string& given, Ways ways, Report& report, OnGrpcCalls onGrpcCalls) {
  const std::string folder = fs::canonical(given);
  if (runSet(folder, ways, report, onGrpcCalls)) return;
  std::vector<std::string> folders;
  for (auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  KJ_REQUIRE(!folders.empty(), "no golden data here", folder.c_str());
  for (auto& one : folders) {
    if (!runSet(one, ways, report, onGrpcCalls)) {
      report.skipped(nameOfFolder(one).c_str(), "not a set of golden data that this runner knows");
    }
  }
}

}  // namespace ledger::golden
