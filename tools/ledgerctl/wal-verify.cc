// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie-update.h"
#include "tools/ledgerctl/log-files.h"
#include "tools/ledgerctl/progress.h"
#include "tools/ledgerctl/text.h"
#include "tools/ledgerctl/wal-commands.h"

#include <kj/debug.h>
#include <kj/vector.h>

namespace ledgerctl {
namespace {

using ledger::DecodedTrieUpdate;
using ledger::LogRecord;
using ledger::WalPosition;
using ledger::WalReader;
using ledger::WalRecord;
using ledger::WalSegment;
using ledger::walSegmentName;

struct Fault {
  kj::Maybe<WalPosition> at;  // Null: of several files, or as the reason says.
  kj::String reason;
  Judgement start;
};

struct Findings {
  uint64_t bytes = 0;  // Of all segments.
  uint64_t updates = 0, deletes = 0;
  uint64_t registers = 0;
  uint64_t recordBytes = 0;  // Of sound records.
  kj::Maybe<WalPosition> first, last;
  uint64_t faultCount = 0;
  kj::Vector<Fault> faults;  // The first of them.
};

class WalVerification final {
public:
  WalVerification(const LogFiles& log, const StartRules& rules, ProgressBar& bar)
      : log(log), rules(rules), bar(bar) {}

  Findings run() {
    for (auto& segment : log.segments) found.bytes += segment.size;
    KJ_IF_MAYBE (why, rules.refusal()) {
      add({nullptr, kj::str("files are missing"), {AtStart::REFUSED, kj::str(*why)}});
    }
    // A reader ends at damage; the segments behind it are read by another one.
    auto rest = log.segments.asPtr();
    while (rest.size() > 0) rest = readUpToDamage(rest);
    return kj::mv(found);
  }

private:
  static constexpr size_t MOST_FAULTS = 20;

  void add(Fault fault) {
    if (found.faults.size() < MOST_FAULTS) found.faults.add(kj::mv(fault));
    ++found.faultCount;
  }

  // Returns the segments that are left to read.
  kj::ArrayPtr<const WalSegment> readUpToDamage(kj::ArrayPtr<const WalSegment> segments) {
    WalReader reader(*log.directory, segments);
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { readRecords(reader); })) {
      add({nullptr, kj::str(faultText(*exception)),
           {AtStart::REFUSED, kj::str("the log cannot be read any further")}});
      return nullptr;
    }
    KJ_IF_MAYBE (damage, reader.damage()) {
      add({damage->at, kj::str(damage->reason), rules.judge(*damage)});
      while (segments.size() > 0 && segments[0].number <= damage->at.segment) {
        bytesBefore += segments[0].size;
        segments = segments.slice(1, segments.size());
      }
      return segments;
    }
    return nullptr;
  }

  void readRecords(WalReader& reader) {
    for (;;) {
      KJ_IF_MAYBE (record, reader.next()) {
        count(*record);
        bar.update("verifying", bytesBefore + reader.bytesDone(), found.bytes);
      } else {
        return;
      }
    }
  }

  void count(const WalRecord& record) {
    auto decoded = ledger::decodeWalRecord(record.bytes);
    KJ_IF_MAYBE (error, decoded.tryGet<ledger::Error>()) {
      add({record.start, kj::str("the record does not decode: ", error->message),
           rules.judgeUndecodable(record.start)});
      return;
    }
    KJ_IF_MAYBE (update, decoded.get<LogRecord>().tryGet<DecodedTrieUpdate>()) {
      ++found.updates;
      found.registers += update->paths.size();
    } else {
      ++found.deletes;
    }
    found.recordBytes += record.bytes.size();
    if (found.first == nullptr) found.first = record.start;
    found.last = record.start;
  }

  const LogFiles& log;
  const StartRules& rules;
  ProgressBar& bar;
  uint64_t bytesBefore = 0;  // Of the segments that are done.
  Findings found;
};

kj::StringPtr verdictText(AtStart verdict) {
  switch (verdict) {
    case AtStart::NOT_READ:
      return "a start of ledgerd does not read it"_kj;
    case AtStart::CUT:
      return "a start of ledgerd cuts it"_kj;
    case AtStart::REFUSED:
      return "a start of ledgerd is refused"_kj;
  }
  KJ_UNREACHABLE;
}

const char* verdictName(AtStart verdict) {
  switch (verdict) {
    case AtStart::NOT_READ:
      return "not_read";
    case AtStart::CUT:
      return "cut";
    case AtStart::REFUSED:
      return "refused";
  }
  KJ_UNREACHABLE;
}

kj::String positionText(const WalPosition& at) {
  return kj::str(walSegmentName(at.segment), " at offset ", at.offset);
}

kj::String reportText(const Options& options, const LogFiles& log, const StartRules& rules,
                      const Findings& found) {
  kj::Vector<kj::String> lines;
  lines.add(kj::str(options.path.c_str(), ": ", found.faultCount == 0 ? "sound" : "DAMAGED"));
  if (log.segments.size() > 0) {
    lines.add(kj::str("segments  ", walSegmentName(log.segments.front().number), " to ",
                      walSegmentName(log.segments.back().number), " (", log.segments.size(), "), ",
                      sizeText(found.bytes)));
  } else {
    lines.add(kj::str("segments  none, but a checkpoint"));
  }
  lines.add(kj::str("records   ", countText(found.updates, "update"), " of ",
                    countText(found.registers, "register"), ", ",
                    countText(found.deletes, "delete"), ", ", sizeText(found.recordBytes)));
  KJ_IF_MAYBE (first, found.first) {
    lines.add(kj::str("first     ", positionText(*first)));
    lines.add(kj::str("last      ", positionText(KJ_ASSERT_NONNULL(found.last))));
  }
  if (rules.refusal() == nullptr) {
    auto segment = rules.firstSegment();
    bool reads = log.segments.size() > 0 && segment <= log.segments.back().number;
    lines.add(kj::str("start     from ", rules.checkpoint().orDefault("the empty ledger"),
                      reads ? kj::str(", and ", walSegmentName(segment), " on") : kj::str()));
  }
  for (auto& fault : found.faults) {
    kj::String place;
    KJ_IF_MAYBE (at, fault.at) place = kj::str(positionText(*at), ": ");
    lines.add(kj::str("damage    ", place, fault.reason));
    lines.add(kj::str("          ", verdictText(fault.start.verdict), ": ", fault.start.why));
  }
  if (found.faultCount > found.faults.size()) {
    lines.add(kj::str("          and ", found.faultCount - found.faults.size(), " more"));
  }
  return kj::strArray(lines, "\n");
}

Json positionJson(kj::Maybe<WalPosition> position) {
  KJ_IF_MAYBE (at, position) return {{"segment", at->segment}, {"offset", at->offset}};
  return Json();
}

Json reportJson(const Options& options, const LogFiles& log, const StartRules& rules,
                const Findings& found) {
  auto faults = Json::array();
  for (auto& fault : found.faults) {
    auto json = Json{{"file", Json()}, {"offset", Json()}};
    KJ_IF_MAYBE (at, fault.at) {
      json = {{"file", walSegmentName(at->segment).cStr()}, {"offset", at->offset}};
    }
    json["reason"] = fault.reason.cStr();
    json["start"] = verdictName(fault.start.verdict);
    json["why"] = fault.start.why.cStr();
    faults.push_back(json);
  }
  auto number = [&](bool some, uint64_t value) { return some ? Json(value) : Json(); };
  Json start;
  if (rules.refusal() == nullptr) {
    auto checkpoint = rules.checkpoint();
    KJ_IF_MAYBE (name, checkpoint) start["checkpoint"] = name->cStr();
    start["first_segment"] = rules.firstSegment();
  }
  bool some = log.segments.size() > 0;
  return {{"directory", options.path},
          {"sound", found.faultCount == 0},
          {"segments", log.segments.size()},
          {"first_segment", number(some, some ? log.segments.front().number : 0)},
          {"last_segment", number(some, some ? log.segments.back().number : 0)},
          {"segment_bytes", found.bytes},
          {"updates", found.updates},
          {"registers", found.registers},
          {"deletes", found.deletes},
          {"record_bytes", found.recordBytes},
          {"first_record", positionJson(found.first)},
          {"last_record", positionJson(found.last)},
          {"start", start},
          {"fault_count", found.faultCount},
          {"faults", faults}};
}

}  // namespace

ExitCode runWalVerify(const Options& options, Output& output) {
  auto opened = openLogFiles(options.path, output);
  KJ_IF_MAYBE (code, opened.tryGet<ExitCode>()) return *code;
  auto& log = opened.get<LogFiles>();
  ProgressBar bar(progressForm(output), kj::systemPreciseMonotonicClock());
  const StartRules rules(log);
  auto found = WalVerification(log, rules, bar).run();
  bar.clear();
  auto written = output.isJson() ? output.object(reportJson(options, log, rules, found))
                                 : output.line(reportText(options, log, rules, found));
  return kj::max(written, found.faultCount == 0 ? ExitCode::OK : ExitCode::DAMAGED);
}

}  // namespace ledgerctl
