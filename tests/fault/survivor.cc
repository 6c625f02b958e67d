// SPDX-License-Identifier: Apache-2.0
#include "tests/fault/survivor.h"

#include <kj/debug.h>
#include <kj/encoding.h>

#include <algorithm>

namespace ledger::testing {

namespace {

constexpr unsigned PARTS = 17;

std::string hex(const std::vector<RootHash>& states) {
  std::string text;
  for (auto& state : states) {
    text += kj::str(" ", kj::encodeHex(state.ptr().slice(0, 4))).cStr();
  }
  return text;
}

std::vector<RootHash> statesOf(const Ledger& ledger) {
  auto states = ledger.states();
  return std::vector<RootHash>(states.begin(), states.end());
}

// A start must leave whole checkpoints and nothing else of any.
std::string findDebris(const FileBytes& files) {
  std::map<std::string, unsigned> parts;
  for (auto& [name, bytes] : files) {
    switch (kindOf(name)) {
      case FileKind::TEMPORARY_PART:
      case FileKind::TEMPORARY_TOP_PART:
      case FileKind::TEMPORARY_HEADER: return name + " is left";
      case FileKind::PART:
      case FileKind::TOP_PART: ++parts[name.substr(0, name.size() - 4)]; break;
      case FileKind::HEADER: parts[name]; break;
      default: break;
    }
  }
  for (auto& [name, count] : parts) {
    if (files.count(name) == 0) return name + " has parts but no header";
    if (count != PARTS) return name + " lacks parts";
  }
  return "";
}

// What was torn off is kept, whole, until the operator removes it.
bool hasTornBytes(const FileBytes& files, const std::string& tornBytes) {
  return std::any_of(files.begin(), files.end(), [&](const auto& file) {
    const auto& bytes = file.second;
    return bytes.size() >= tornBytes.size() &&
           bytes.compare(bytes.size() - tornBytes.size(), tornBytes.size(), tornBytes) == 0;
  });
}

// What a start may warn of: a torn tail, and what --recover gave up, if it was asked for.
bool isExpected(const std::string& warning, bool recovered) {
  if (warning.find("torn end of a write") != warning.npos) return true;
  return recovered && warning.find("as --recover asks") != warning.npos;
}

// Opens a ledger. Pages that were not synced may be missing before others that are there, which
// looks like damage.
kj::Own<Ledger> openSurvivor(const Workload& workload, SimulatedDisk& disk, const Reports& reports,
                             History::After after, bool& wasRefused) {
  kj::Own<Ledger> ledger;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 ledger = openLedger(disk.directory(), reports, workload.setting);
               })) {
    const std::string text = exception->getDescription().cStr();
    if (after == History::After::KILL || !workload.setting.syncsLate() ||
        text.find("the log is damaged: file ") == text.npos) {
      kj::throwFatalException(kj::mv(*exception));
    }
    wasRefused = true;
    ledger = openLedger(disk.directory(), reports, workload.setting,
                        LedgerOptions::Damage::SET_ASIDE);
  }
  return ledger;
}

std::string judgeOpen(const Workload& workload, SimulatedDisk& disk, const History& history,
                      History::After after, bool& wasRefused) {
  Reports reports;
  std::vector<int> sets;
  {
    auto ledger = openSurvivor(workload, disk, reports, after, wasRefused);
    awaitIdle(*ledger);
    KJ_IF_MAYBE (found, findForest(workload, *ledger, history, after)) {
      sets = *found;
    } else {
      return "its states are not those of the acknowledged Sets:" + hex(statesOf(*ledger)) +
             " instead of" + hex(workload.forest(history.possible(after).back()));
    }
    KJ_IF_MAYBE (number, history.checkpoint) {
      auto newest = ledger->stats().checkpoints.newest;
      if (newest == nullptr || KJ_ASSERT_NONNULL(newest) < *number) return "a checkpoint is lost";
    }
    auto difference = workload.compareValues(*ledger);
    if (!difference.empty()) return difference;
    for (auto& text : reports.warnings()) {
      if (!isExpected(text, wasRefused)) return "it warns: " + text;
    }
    auto debris = findDebris(disk.now());
    if (!debris.empty()) return debris;
    if (!hasTornBytes(disk.now(), workload.tornBytes)) return "the torn bytes are lost";

    auto result = workload.setAnother(*ledger, workload.forest(sets).back());
    if (result.is<Error>()) {
      return std::string("it takes no Set: ") + result.get<Error>().message.cStr();
    }
    auto expected = statesOf(*ledger);
    awaitIdle(*ledger);
    ledger = nullptr;
    ledger = openLedger(disk.directory(), reports, workload.setting);
    if (statesOf(*ledger) != expected) {
      return "opened again, it has" + hex(statesOf(*ledger)) + " instead of" + hex(expected);
    }
    difference = workload.compareValues(*ledger);
    if (!difference.empty()) return "opened again: " + difference;
  }
  for (auto& text : reports.warnings()) {
    if (!isExpected(text, wasRefused)) return "it warns: " + text;
  }
  return "";
}

}  // namespace

std::vector<std::vector<int>> History::possible(After after) const {
  std::vector<std::vector<int>> sequences = {{}};
  std::vector<std::vector<int>> cutShort;  // Those that end before a Set that was lost.
  bool mayBeLost = false;
  for (auto& entry : entries) {
    const size_t count = sequences.size();
    mayBeLost |= after == After::CRASH && entry.fate == Fate::UNSYNCED;
    if (mayBeLost) cutShort.insert(cutShort.end(), sequences.begin(), sequences.end());
    if (entry.fate == Fate::UNKNOWN) {
      for (size_t i = 0; i < count; ++i) sequences.push_back(sequences[i]);
    }
    for (size_t i = 0; i < count; ++i) sequences[i].push_back(entry.set);
  }
  sequences.insert(sequences.begin(), cutShort.begin(), cutShort.end());
  return sequences;
}

void Reports::warn(kj::StringPtr text) const {
  std::lock_guard lock(mutex);
  texts.push_back(text.cStr());
}

std::vector<std::string> Reports::warnings() const {
  std::lock_guard lock(mutex);
  return texts;
}

kj::Maybe<std::vector<int>> findForest(const Workload& workload, const Ledger& ledger,
                                       const History& history, History::After after) {
  auto states = statesOf(ledger);
  for (auto& sets : history.possible(after)) {
    if (workload.forest(sets) == states) return sets;
  }
  return nullptr;
}

Verdict judge(const Workload& workload, const FileBytes& files, const History& history,
              History::After after) {
  SimulatedDisk disk(files);
  Verdict verdict;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 verdict.problem = judgeOpen(workload, disk, history, after, verdict.wasRefused);
               })) {
    verdict.problem = std::string("it does not open: ") + exception->getDescription().cStr();
  }
  return verdict;
}

std::string CrashJudge::crashNow(const SimulatedDisk& disk, SimulatedDisk::Tears tears,
                                 const History& history) {
  size_t hashOfHistory = 0;
  auto mix = [](size_t& into, size_t value) { into = (into ^ value) * 0x9E3779B97F4A7C15 + 1; };
  for (auto& entry : history.entries) mix(hashOfHistory, 3 * entry.set + int(entry.fate));
  KJ_IF_MAYBE (number, history.checkpoint) mix(hashOfHistory, *number);
  for (auto& files : disk.afterCrash(tears)) {
    ++all;
    size_t hash = hashOfHistory;
    for (auto& [name, bytes] : files) {
      // Without the random number of a temporary name.
      const bool temporary = name.starts_with("writing-");
      mix(hash, std::hash<std::string>()(temporary ? name.substr(0, name.rfind('-')) : name));
      mix(hash, std::hash<std::string>()(bytes));
    }
    auto [verdict, isNew] = seen.try_emplace(hash);
    if (isNew) {
      auto judged = judge(workload, files, history, History::After::CRASH);
      verdict->second = judged.problem;
      refusals += judged.wasRefused;
    }
    if (!verdict->second.empty()) return verdict->second;
  }
  return "";
}

}  // namespace ledger::testing
