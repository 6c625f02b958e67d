// SPDX-License-Identifier: Apache-2.0
#pragma once
// A scenario file: calls to one ledger, in order, each with the answer that flow-go gave.
//
// The format is in tests/golden/data/README.md. Keys are given here as the ledger takes them,
// encoded; how they are encoded is written out once more in the source, so that the runner does not
// check the encoder against itself.

#include "ledger/model.h"
#include "tests/golden/blob.h"

#include <kj/function.h>

#include <string>

namespace ledger::golden {

enum class Op {
  OPEN,          // A new, empty directory.
  REOPEN,        // Clean stop, then a start on the same directory.
  OPEN_TRIEDIR,  // A start on a copy of the directory `triedir`.
  INITIAL,
  HAS,
  STATE_COUNT,
  STATE_BY_INDEX,
  SET,
  GET,
  GET_SINGLE,
  PROVE,
  BLOCK,  // Marks the start of a block; nothing to do.
};

// What flow-go did.
enum class Outcome {
  ANSWER,
  ERROR,
  PANIC,  // Its process died. Ours answers as flow-go's documentation would have it.
};

struct Step {
  uint32_t line = 0;  // From 1.
  Op op = Op::BLOCK;
  Outcome outcome = Outcome::ANSWER;

  // OPEN, REOPEN, OPEN_TRIEDIR. A segment size of 0: not given.
  uint32_t forestCapacity = 0;
  uint64_t walSegmentSize = 0;
  std::string triedir;

  RootHash state;           // The one asked for; of INITIAL and STATE_BY_INDEX the one expected.
  kj::Array<Bytes> keys;    // Encoded. GET_SINGLE: one.
  kj::Array<Bytes> values;  // SET: to write.
  int64_t index = 0;        // STATE_BY_INDEX.
  std::string description;  // BLOCK.

  // Expected.
  kj::Array<Blob> blobs;  // GET and GET_SINGLE: the values; PROVE: the proof.
  RootHash newState;      // SET.
  Blob trieUpdate;        // SET: as in the log.
  Blob trieUpdateCbor;    // SET: as flow-go's gRPC reply carries it.
  uint64_t count = 0;     // STATE_COUNT.
  bool has = false;       // HAS.
};

// Calls `visit` for each step of a file. Throws, with the line, on what it does not understand.
void readScenario(const std::string& file, kj::Function<void(const Step&)> visit);

// A golden key, [{"type", "value"}...], encoded.
Bytes encodeGoldenKey(const nlohmann::json& key);

RootHash parseHash(const nlohmann::json& hex);

// Each line of a .jsonl file, with its number from 1. Throws with file and line.
void forEachLine(const std::string& file,
                 kj::Function<void(const nlohmann::json&, uint32_t)> visit);

kj::StringPtr nameOf(Op op);

}  // namespace ledger::golden
