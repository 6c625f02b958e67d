// SPDX-License-Identifier: Apache-2.0
#pragma once
// ledgerctl's command line.

#include "client/connect.h"
#include "tools/ledgerctl/exit-code.h"
#include "tools/ledgerctl/input.h"

#include <kj/one-of.h>

#include <string>
#include <vector>

namespace ledgerctl {

enum class Command {
  STATES,
  HAS,
  GET,
  SET,
  PROVE,
  VERIFY,
  INFO,
  SESSIONS,
  CHECKPOINT,
  WAL_DUMP,
  WAL_VERIFY,
  CHECKPOINT_INFO,
  CHECKPOINT_ROOTS,
  CHECKPOINT_VERIFY,
  CHECKPOINT_EXPORT,
};

// The others work on files alone.
bool needsServer(Command command);

struct Options {
  Command command = Command::INFO;

  std::string socket;
  ledger::client::TransportChoice transport = ledger::client::TransportChoice::AUTO;
  double timeoutSeconds = 60;
  double connectTimeoutSeconds = 0;
  bool json = false;

  std::string state;               // As it was typed.
  std::vector<std::string> items;  // Keys, or updates.
  std::string file;                // --keys or --updates; empty: none.
  std::string output;              // --output; empty: standard output.
  bool raw = false;
  std::string proof;  // verify: the proof's file.
  bool flowGo = false;

  std::string path;  // wal: the ledger's directory; checkpoint: the header file.
  kj::Maybe<uint64_t> fromSegment;  // At most 18 digits, as all segments have.
  kj::Maybe<uint64_t> toSegment;
  bool registers = false;
  bool hashes = false;
  kj::Maybe<uint64_t> memoryLimit;  // Bytes.
};

// What to print instead of doing anything: help (OK) or what is wrong (USAGE).
struct Exit {
  ExitCode code;
  std::string text;
};

kj::OneOf<Options, Exit> parseOptions(int argc, const char* const* argv);

}  // namespace ledgerctl
