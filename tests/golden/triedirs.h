// SPDX-License-Identifier: Apache-2.0
#pragma once
// Starts on directories that flow-go left, or that a replay made, and compares the forest.

#include "tests/golden/ledger-under-test.h"
#include "tests/golden/report.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace ledger::golden {

nlohmann::json readJson(const std::string& file);

// The forest must be `tries` ({"root", "reg_count", "reg_size"} each), oldest first. Counters are
// compared where the ledger tells them.
void compareForest(LedgerUnderTest& ledger, const nlohmann::json& tries, kj::StringPtr what,
                   Report& report);

// Starts on copies of `folder`/`triedir` in the ways that `description` (its JSON) tells of:
// with other capacities, without its checkpoints, with its root checkpoint.
void checkReloads(LedgerUnderTest& ledger, const std::string& folder, const std::string& triedir,
                  const nlohmann::json& description, Report& report);

// The files of flow-genesis: every register of the genesis state has the listed value.
void checkRegisters(LedgerUnderTest& ledger, const std::string& folder, Report& report);

// One of wal-faults' good directories, `fault` being its entry in faults.json: what a start finds,
// and that what is then appended is there after the next one.
void checkGoodDirectory(LedgerUnderTest& ledger, const std::string& folder,
                        const nlohmann::json& fault, const nlohmann::json& append, Report& report);

}  // namespace ledger::golden
