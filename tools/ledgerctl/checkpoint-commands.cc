// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/checkpoint-commands.h"

#include "ledger/checkpoint/checking-sink.h"
#include "ledger/checkpoint/layout.h"
#include "ledger/checkpoint/reader.h"
#include "ledger/thread-pool.h"
#include "tools/ledgerctl/files.h"
#include "tools/ledgerctl/progress.h"
#include "tools/ledgerctl/text.h"

#include <kj/exception.h>
#include <kj/vector.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>

namespace ledgerctl {
namespace {

using ledger::CheckingSink;
using ledger::CheckpointLayout;
using ledger::CheckpointPart;
using ledger::TrieRecord;

constexpr unsigned FILES = ledger::CHECKPOINT_PARTS + 1;

struct Summary {
  CheckpointLayout layout;
  kj::Array<TrieRecord> tries;
};

// What the ends of the files say, or the exit code of what is wrong with them.
kj::OneOf<Summary, ExitCode> summarize(const Options& options, Output& output) {
  auto opened = openCheckpointFile(options.path);
  KJ_IF_MAYBE (bad, opened.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  auto& file = opened.get<CheckpointFile>();
  Summary summary;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 summary.layout = ledger::openCheckpoint(*file.directory, file.name);
                 summary.tries = ledger::readTrieRecords(summary.layout);
               })) {
    return output.fail(ExitCode::DAMAGED,
                       kj::str(options.path.c_str(), ": ", faultText(*exception)));
  }
  return kj::mv(summary);
}

// How many different states the tries are.
size_t countStates(kj::ArrayPtr<const TrieRecord> tries) {
  auto roots = KJ_MAP(trie, tries) { return trie.rootHash; };
  std::sort(roots.begin(), roots.end());
  return std::unique(roots.begin(), roots.end()) - roots.begin();
}

kj::String crcText(uint32_t crc) {
  char text[9];
  snprintf(text, sizeof(text), "%08x", crc);
  return kj::str(text);
}

kj::String infoText(const Options& options, const Summary& summary) {
  auto& layout = summary.layout;
  kj::Vector<kj::String> lines;
  lines.add(kj::str(options.path.c_str()));
  lines.add(kj::str("version  ", ledger::CHECKPOINT_VERSION));
  lines.add(kj::str("files    ", FILES, ", ", sizeText(layout.bytes())));
  auto states = countStates(summary.tries);
  auto repeated = states < layout.tries ? kj::str(", of ", countText(states, "state")) : kj::str();
  lines.add(kj::str("tries    ", layout.tries, repeated));
  lines.add(kj::str("nodes    ", layout.nodes()));
  lines.add(kj::str("part           nodes          bytes  checksum"));
  for (unsigned i = 0; i < layout.parts.size(); ++i) {
    auto& part = layout.parts[i];
    char line[80];
    snprintf(line, sizeof(line), " %03u  %14" PRIu64 " %14" PRIu64 "  ", i, part.nodes, part.size);
    lines.add(kj::str(line, crcText(part.crc)));
  }
  return kj::strArray(lines, "\n");
}

Json infoJson(const Options& options, const Summary& summary) {
  auto& layout = summary.layout;
  auto parts = Json::array();
  for (auto& part : layout.parts) {
    parts.push_back({{"file", part.name.cStr()},
                     {"nodes", part.nodes},
                     {"bytes", part.size},
                     {"checksum", crcText(part.crc).cStr()}});
  }
  return {{"file", options.path},
          {"version", ledger::CHECKPOINT_VERSION},
          {"bytes", layout.bytes()},
          {"tries", layout.tries},
          {"states", countStates(summary.tries)},
          {"nodes", layout.nodes()},
          {"parts", parts}};
}

struct Verification {
  CheckingSink::Counts counts;
  uint64_t bytes;  // Of all files.
  kj::Maybe<kj::String> fault;
};

Verification verify(const CheckpointFile& file, CheckingSink::Hashes hashes, ProgressBar& bar) {
  CheckingSink sink(file.name, hashes);
  Verification found{{}, 0, nullptr};
  auto failure = kj::runCatchingExceptions([&]() {
    ledger::CheckpointReadOptions reading;
    reading.threads = partThreads();
    reading.progress = [&](uint64_t done, uint64_t total) {
      bar.update("verifying", done, total);
      found.bytes = total;
    };
    ledger::readCheckpoint(*file.directory, file.name, sink, kj::mv(reading));
  });
  found.counts = sink.counts();
  KJ_IF_MAYBE (exception, failure) {
    // Not the file's fault.
    if (exception->getType() != kj::Exception::Type::FAILED) {
      kj::throwFatalException(kj::mv(*exception));
    }
    found.fault = kj::str(faultText(*exception));
  }
  return found;
}

kj::String verificationText(const Options& options, const Verification& found) {
  KJ_IF_MAYBE (fault, found.fault) {
    return kj::str(options.path.c_str(), ": DAMAGED\ndamage    ", *fault);
  }
  auto& counts = found.counts;
  return kj::str(options.path.c_str(), ": sound",
                 options.hashes ? ", and every hash follows from what is below it" : "", "\n",
                 "tries     ", counts.tries, "\nnodes     ", counts.leaves + counts.interiors, ": ",
                 counts.interiors, " interior, ", counts.leaves, " leaves (", counts.emptyLeaves,
                 " without a value)\npayloads  ", sizeText(counts.payloadBytes), "\nfiles     ",
                 FILES, ", ", sizeText(found.bytes));
}

Json verificationJson(const Options& options, const Verification& found) {
  KJ_IF_MAYBE (fault, found.fault) {
    return {{"file", options.path},
            {"sound", false},
            {"hashes_computed", options.hashes},
            {"reason", fault->cStr()}};
  }
  auto& counts = found.counts;
  return {{"file", options.path},
          {"sound", true},
          {"hashes_computed", options.hashes},
          {"bytes", found.bytes},
          {"tries", counts.tries},
          {"nodes", counts.leaves + counts.interiors},
          {"leaves", counts.leaves},
          {"empty_leaves", counts.emptyLeaves},
          {"interiors", counts.interiors},
          {"payload_bytes", counts.payloadBytes}};
}

}  // namespace

unsigned partThreads() {
  return std::clamp(ledger::ThreadPool::processors(), 1u, ledger::CHECKPOINT_SUBTRIES);
}

ExitCode runCheckpointInfo(const Options& options, Output& output) {
  auto summarized = summarize(options, output);
  KJ_IF_MAYBE (code, summarized.tryGet<ExitCode>()) return *code;
  auto& summary = summarized.get<Summary>();
  return output.isJson() ? output.object(infoJson(options, summary))
                         : output.line(infoText(options, summary));
}

ExitCode runCheckpointRoots(const Options& options, Output& output) {
  auto summarized = summarize(options, output);
  KJ_IF_MAYBE (code, summarized.tryGet<ExitCode>()) return *code;
  auto& tries = summarized.get<Summary>().tries;
  if (output.isJson()) {
    auto list = Json::array();
    for (auto& trie : tries) {
      list.push_back({{"state", hexJson(trie.rootHash.ptr())},
                      {"registers", trie.registerCount},
                      {"register_bytes", trie.registerSize}});
    }
    return output.object({{"file", options.path}, {"tries", list}});
  }
  const size_t width = kj::str(tries.size() - 1).size();
  auto lines = KJ_MAP(i, kj::indices(tries)) {
    auto& trie = tries[i];
    return kj::str(padded(i, width), "  ", toHex(trie.rootHash.ptr()), "  ",
                   countText(trie.registerCount, "register"), ", ", trie.registerSize, " bytes",
                   i + 1 == tries.size() ? "  latest" : "");
  };
  return output.line(kj::strArray(lines, "\n"));
}

ExitCode runCheckpointVerify(const Options& options, Output& output) {
  auto opened = openCheckpointFile(options.path);
  KJ_IF_MAYBE (bad, opened.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  ProgressBar bar(progressForm(output), kj::systemPreciseMonotonicClock());
  auto hashes = options.hashes ? CheckingSink::Hashes::RECOMPUTED : CheckingSink::Hashes::TRUSTED;
  auto found = verify(opened.get<CheckpointFile>(), hashes, bar);
  bar.clear();
  auto written = output.isJson() ? output.object(verificationJson(options, found))
                                 : output.line(verificationText(options, found));
  return kj::max(written, found.fault == nullptr ? ExitCode::OK : ExitCode::DAMAGED);
}

}  // namespace ledgerctl
