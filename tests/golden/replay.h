// SPDX-License-Identifier: Apache-2.0
#pragma once
// Replays a scenario against a ledger and compares every answer with flow-go's.

#include "tests/golden/ledger-under-test.h"
#include "tests/golden/report.h"
#include "tests/golden/scenario.h"

#include <kj/vector.h>

#include <string>

namespace ledger::golden {

// Whose the forest is. In a forest that holds other states too, their number and order are not the
// scenario's, and the ledger is neither opened nor closed.
enum class Forest { OWN, SHARED };

struct Replay {
  std::string scenario;      // The file.
  std::string goldenFolder;  // Where directories named by `open_triedir` are.
  std::string ledgerFolder;  // Where the ledger's directory goes: absolute, empty.
  Forest forest = Forest::OWN;
};

// What a replay leaves behind, beside the directory.
struct Replayed {
  bool finished = false;  // False: it stopped at a fault, which the report has.
  uint64_t walSegmentSize = 0;
  uint32_t forestCapacity = 0;
  bool ownSegments = true;  // False: it went on in a copy of flow-go's directory.
  // The log records that flow-go wrote for Sets which then failed. Ours must lack them.
  kj::Vector<Bytes> refusedRecords;
};

// The ledger is closed afterwards (Forest::OWN). `onStep` sees each step before it runs.
Replayed replay(
    LedgerUnderTest& ledger, const Replay& what, Report& report,
    kj::Function<void(const Step&)> onStep = [](const Step&) {});

// Names a state in a report: its first eight digits.
kj::String shortName(const RootHash& state);

kj::Array<EncodedKey> viewsOf(kj::ArrayPtr<const Bytes> bytes);

}  // namespace ledger::golden
