// SPDX-License-Identifier: Apache-2.0
#pragma once
// A ledger's directory as far as its log is concerned, and what a start of ledgerd would make of
// damage in it.

#include "ledger/checkpoint/names.h"
#include "ledger/wal/reader.h"
#include "ledger/wal/segment.h"
#include "tools/ledgerctl/output.h"

#include <kj/filesystem.h>
#include <kj/one-of.h>

#include <string>

namespace ledgerctl {

struct LogFiles {
  kj::Own<const kj::ReadableDirectory> directory;
  kj::Array<ledger::WalSegment> segments;
};

// Or the exit code of what is wrong with it, which is said: not a directory, nothing of a ledger in
// it, segments that are missing in between or spelt as no ledger spells them.
kj::OneOf<LogFiles, ExitCode> openLogFiles(const std::string& path, Output& output);

// What a start does about damage.
enum class AtStart {
  NOT_READ,  // A checkpoint stands for the segment, if that loads.
  CUT,       // It is a crash's torn tail.
  REFUSED,
};

struct Judgement {
  AtStart verdict;
  kj::String why;
};

// Thread: one.
class StartRules final {
public:
  // `log` must outlive it.
  explicit StartRules(const LogFiles& log);

  // Null: files are missing, so that a start is refused whatever is in the others.
  kj::Maybe<kj::StringPtr> refusal() const;

  // What a start loads and reads, as far as the names of the files tell. Not after a refusal.
  kj::Maybe<kj::StringPtr> checkpoint() const;  // Null: the empty ledger.
  uint64_t firstSegment() const { return replayFrom; }

  // Of damage that a reader found, or of a sound record that does not decode.
  Judgement judge(const ledger::WalDamage& damage) const;
  Judgement judgeUndecodable(const ledger::WalPosition& at) const;

private:
  kj::Maybe<Judgement> notRead(uint64_t segment) const;

  const LogFiles& log;
  kj::Maybe<kj::String> refused;
  uint64_t replayFrom = 0;
  kj::String checkpointName;  // Empty: the empty ledger.
};

}  // namespace ledgerctl
