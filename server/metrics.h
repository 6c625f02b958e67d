// SPDX-License-Identifier: Apache-2.0
#pragma once
// Figures for Prometheus, in its text format: flow-go's names first, then ours. docs/metrics.md
// lists them.

#include "ledger/meters.h"
#include "server/service-state.h"

#include <kj/string.h>

namespace ledger::server {

constexpr kj::StringPtr METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"_kj;

// Figures of the ledger and its clients are there while it serves. Thread: any.
kj::String renderMetrics(const LedgerMeters& meters, const ServiceState& state);

}  // namespace ledger::server
