// SPDX-License-Identifier: Apache-2.0
#pragma once
// Who is connected and who holds what, as JSON for the admin commands. The names are those of
// `ledgerctl sessions --json`.

#include "server/host.h"

#include <nlohmann/json_fwd.hpp>

namespace ledger::server {

// Each session on its own, oldest first.
nlohmann::ordered_json sessionsReport(const Host& host);

// Shared memory as a whole, and the arenas of every session that has any.
nlohmann::ordered_json arenasReport(const Host& host);

}  // namespace ledger::server
