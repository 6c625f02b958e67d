// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie-update.h"
#include "tools/ledgerctl/log-files.h"
#include "tools/ledgerctl/progress.h"
#include "tools/ledgerctl/text.h"
#include "tools/ledgerctl/wal-commands.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>

#include <sys/stat.h>
#include <unistd.h>

namespace ledgerctl {
namespace {

using ledger::DecodedTrieUpdate;
using ledger::LogRecord;
using ledger::WalReader;
using ledger::WalRecord;
using ledger::WalSegment;
using ledger::walSegmentName;

// Gathers text, so that not every line is a system call.
class GatheredOutput final {
public:
  explicit GatheredOutput(Output& output) : output(output) {}

  // Not OK: nothing more can be written.
  ExitCode add(kj::StringPtr text) {
    gathered.addAll(text);
    return gathered.size() < ENOUGH ? ExitCode::OK : flush();
  }

  ExitCode flush() {
    auto code = output.bytes(gathered.asPtr().asBytes());
    gathered.clear();
    return code;
  }

private:
  static constexpr size_t ENOUGH = 65536;

  Output& output;
  kj::Vector<char> gathered;
};

class WalDump final {
public:
  WalDump(const Options& options, Output& output, const LogFiles& log,
          kj::ArrayPtr<const WalSegment> segments)
      : options(options),
        output(output),
        log(log),
        lines(output),
        reader(*log.directory, segments),
        bar(barForm(output), kj::systemPreciseMonotonicClock()) {}

  ExitCode run() {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { writeRecords(); })) {
      fail(faultText(*exception));
    }
    if (code != ExitCode::INTERNAL) code = kj::max(code, lines.flush());
    bar.clear();
    KJ_IF_MAYBE (text, failure) output.fail(ExitCode::DAMAGED, *text);
    return code;
  }

private:
  // The lines themselves, on a terminal or in a pager, are progress enough.
  static ProgressBar::Form barForm(const Output& output) {
    struct stat status;
    bool toFile = fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode);
    return toFile ? progressForm(output) : ProgressBar::Form::NONE;
  }

  void writeRecords() {
    while (code != ExitCode::INTERNAL) {
      KJ_IF_MAYBE (record, reader.next()) {
        writeRecord(*record);
        bar.update("reading", reader.bytesDone(), reader.bytesTotal());
      } else {
        break;
      }
    }
    KJ_IF_MAYBE (damage, reader.damage()) {
      bool hasMore = damage->at.segment < log.segments.back().number;
      auto goOn = hasMore ? kj::str("; --from ", damage->at.segment + 1, " goes on behind it")
                          : kj::str();
      fail(kj::str(walSegmentName(damage->at.segment), " at offset ", damage->at.offset, ": ",
                   damage->reason, "; the rest of this segment cannot be read", goOn,
                   " (wal verify says more)"));
    }
  }

  void fail(kj::StringPtr text) {
    code = kj::max(code, ExitCode::DAMAGED);
    failure = kj::str(options.path.c_str(), ": ", text);
  }

  void write(kj::StringPtr text) {
    if (code != ExitCode::INTERNAL) code = kj::max(code, lines.add(text));
  }

  void writeRecord(const WalRecord& record) {
    auto decoded = ledger::decodeWalRecord(record.bytes);
    KJ_SWITCH_ONEOF(decoded) {
      KJ_CASE_ONEOF(error, ledger::Error) {
        code = kj::max(code, ExitCode::DAMAGED);
        writeUndecodable(record, error.message);
      }
      KJ_CASE_ONEOF(operation, LogRecord) {
        KJ_SWITCH_ONEOF(operation) {
          KJ_CASE_ONEOF(update, DecodedTrieUpdate) {
            writeUpdate(record, update);
          }
          KJ_CASE_ONEOF(deletion, ledger::WalDelete) {
            writeDelete(record, deletion.root);
          }
        }
      }
    }
  }

  static kj::String placeText(const WalRecord& record, kj::StringPtr kind) {
    return kj::str(walSegmentName(record.start.segment), "  ", padded(record.start.offset, 8), "  ",
                   kind);
  }

  static Json placeJson(const WalRecord& record, const char* kind) {
    return {{"segment", record.start.segment}, {"offset", record.start.offset}, {"kind", kind}};
  }

  void writeUndecodable(const WalRecord& record, kj::StringPtr why) {
    if (output.isJson()) {
      auto json = placeJson(record, "undecodable");
      json["bytes"] = record.bytes.size();
      json["reason"] = why.cStr();
      return write(kj::str(jsonText(json).c_str(), "\n"));
    }
    write(kj::str(placeText(record, "undecodable"), "  ", record.bytes.size(), " bytes: ", why,
                  "\n"));
  }

  void writeDelete(const WalRecord& record, const ledger::RootHash& state) {
    if (output.isJson()) {
      auto json = placeJson(record, "delete");
      json["state"] = hexJson(state.ptr());
      json["bytes"] = record.bytes.size();
      return write(kj::str(jsonText(json).c_str(), "\n"));
    }
    write(kj::str(placeText(record, "delete"), "  ", toHex(state.ptr()), "  ", record.bytes.size(),
                  " bytes\n"));
  }

  void writeUpdate(const WalRecord& record, const DecodedTrieUpdate& update) {
    if (output.isJson()) return writeUpdateJson(record, update);
    write(kj::str(placeText(record, "update"), "  ", toHex(update.root.ptr()), "  ",
                  record.bytes.size(), " bytes, ", countText(update.paths.size(), "register"),
                  "\n"));
    if (!options.registers) return;
    for (auto& payload : update.payloads) {
      auto size = payload.value.size() == 0 ? kj::str("unallocated")
                                            : countText(payload.value.size(), "byte");
      write(kj::str("    ", keyText(payload.key), "  ", size, "\n"));
    }
  }

  // The list of registers is written one by one: it may be long.
  void writeUpdateJson(const WalRecord& record, const DecodedTrieUpdate& update) {
    auto json = placeJson(record, "update");
    json["parent"] = hexJson(update.root.ptr());
    json["registers"] = update.paths.size();
    json["bytes"] = record.bytes.size();
    auto text = jsonText(json);
    if (!options.registers) return write(kj::str(text.c_str(), "\n"));

    text.pop_back();
    write(kj::str(text.c_str(), ",\"updates\":["));
    auto comma = ""_kj;
    for (auto& payload : update.payloads) {
      Json entry = {{"key", keyJson(payload.key)}, {"value_bytes", payload.value.size()}};
      write(kj::str(comma, jsonText(entry).c_str()));
      comma = ","_kj;
    }
    write("]}\n");
  }

  const Options& options;
  Output& output;
  const LogFiles& log;
  GatheredOutput lines;
  WalReader reader;
  ProgressBar bar;
  ExitCode code = ExitCode::OK;
  kj::Maybe<kj::String> failure;
};

// The segments that --from and --to leave; null if there are none.
kj::Maybe<kj::ArrayPtr<const WalSegment>> chosenSegments(const Options& options,
                                                         const LogFiles& log) {
  auto begin = log.segments.begin(), end = log.segments.end();
  auto isBelow = [](const WalSegment& segment, uint64_t number) { return segment.number < number; };
  KJ_IF_MAYBE (from, options.fromSegment) begin = std::lower_bound(begin, end, *from, isBelow);
  KJ_IF_MAYBE (to, options.toSegment) end = std::lower_bound(begin, end, *to + 1, isBelow);
  if (begin == end && log.segments.size() > 0) return nullptr;
  return kj::arrayPtr(begin, end);
}

}  // namespace

ExitCode runWalDump(const Options& options, Output& output) {
  auto opened = openLogFiles(options.path, output);
  KJ_IF_MAYBE (code, opened.tryGet<ExitCode>()) return *code;
  auto& log = opened.get<LogFiles>();
  KJ_IF_MAYBE (segments, chosenSegments(options, log)) {
    return WalDump(options, output, log, *segments).run();
  }
  return output.fail(
      ExitCode::USAGE,
      kj::str("no such segments: the log has ", walSegmentName(log.segments.front().number),
              " to ", walSegmentName(log.segments.back().number)));
}

}  // namespace ledgerctl
