// SPDX-License-Identifier: Apache-2.0
#pragma once
// Compares logs, segment by segment, byte for byte.

#include "tests/golden/blob.h"
#include "tests/golden/report.h"

#include <string>

namespace ledger::golden {

// Every segment of flow-go's directory must be in ours, and no other, with the same bytes.
void compareSegments(const std::string& flowGo, const std::string& ours, Report& report);

// The same, where flow-go also logged Sets that failed (known issue 1): its records without
// `refused` must be ours, in order. Each of `refused` stands for one record.
void compareRecords(const std::string& flowGo, const std::string& ours,
                    kj::ArrayPtr<const Bytes> refused, Report& report);

}  // namespace ledger::golden
