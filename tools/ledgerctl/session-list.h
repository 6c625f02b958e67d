// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a server's sessions look to people and to programs.

#include "client/ledger-client.h"
#include "tools/ledgerctl/output.h"

#include <kj/string.h>

namespace ledgerctl {

Json sessionsJson(kj::ArrayPtr<const ledger::client::SessionInfo> sessions);

// A table with a head; the line of the session that asks has a star.
kj::String sessionsText(kj::ArrayPtr<const ledger::client::SessionInfo> sessions);

}  // namespace ledgerctl
