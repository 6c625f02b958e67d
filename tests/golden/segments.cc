// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/segments.h"

#include "ledger/wal/reader.h"
#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>

namespace ledger::golden {

namespace {

using testing::readFile;
using testing::segmentsOf;

kj::String list(const std::vector<std::string>& names) {
  return kj::strArray(
      KJ_MAP(name, names) { return kj::StringPtr(name.c_str()); }, " ");
}

kj::Vector<Bytes> recordsOf(const std::string& folder) {
  auto filesystem = kj::newDiskFilesystem();
  auto directory =
      filesystem->getRoot().openSubdir(filesystem->getCurrentPath().evalNative(folder.c_str()));
  auto segments = listWalSegments(*directory);
  WalReader reader(*directory, segments);
  kj::Vector<Bytes> records;
  for (;;) {
    KJ_IF_MAYBE (record, reader.next()) {
      records.add(kj::heapArray(record->bytes));
    } else {
      break;
    }
  }
  KJ_IF_MAYBE (damage, reader.damage()) {
    KJ_FAIL_REQUIRE("damaged log", folder.c_str(), damage->reason);
  }
  return records;
}

}  // namespace

void compareSegments(const std::string& flowGo, const std::string& ours, Report& report) {
  const auto expected = segmentsOf(flowGo), actual = segmentsOf(ours);
  report.check(expected == actual,
               kj::str("segments: expected ", list(expected), ", got ", list(actual)));
  for (auto& name : expected) {
    if (!std::binary_search(actual.begin(), actual.end(), name)) continue;
    auto theirs = readFile(flowGo + "/" + name), written = readFile(ours + "/" + name);
    const auto difference =
        std::mismatch(theirs.begin(), theirs.end(), written.begin(), written.end());
    report.check(difference.first == theirs.end() && difference.second == written.end(),
                 kj::str("segment ", name.c_str(), " differs from flow-go's at byte ",
                         difference.first - theirs.begin(), " of ", theirs.size(), " (ours has ",
                         written.size(), ")"));
  }
}

void compareRecords(const std::string& flowGo, const std::string& ours,
                    kj::ArrayPtr<const Bytes> refused, Report& report) {
  auto expected = recordsOf(flowGo);
  const size_t logged = expected.size();
  auto pending = KJ_MAP(record, refused) {
    return record.asPtr();
  };
  size_t dropped = 0;
  kj::Vector<Bytes> applied;
  for (auto& record : expected) {
    auto match = std::find(pending.begin(), pending.end(), record.asPtr());
    if (match != pending.end()) {
      *match = nullptr;
      ++dropped;
    } else {
      applied.add(kj::mv(record));
    }
  }
  report.check(dropped == refused.size(), kj::str("flow-go's log has ", dropped, " of the ",
                                                  refused.size(), " records of Sets that failed"));

  auto actual = recordsOf(ours);
  report.check(actual.size() == applied.size(),
               kj::str("expected ", applied.size(), " records (flow-go's ", logged, " without ",
                       dropped, " that failed), got ", actual.size()));
  for (size_t i = 0; i < std::min(actual.size(), applied.size()); ++i) {
    report.check(actual[i] == applied[i],
                 kj::str("record ", i, " differs: expected ", describe(applied[i]), ", got ",
                         describe(actual[i])));
  }
}

}  // namespace ledger::golden
