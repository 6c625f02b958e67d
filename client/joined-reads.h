// SPDX-License-Identifier: Apache-2.0
#pragma once
// Single reads of one state that follow each other in a batch travel as one Get: one payload each
// way instead of two messages' worth of structs for each register, and the server reads them side
// by side.
//
// Only the way differs: where a Get is refused for a key or for its size, its reads are asked for
// again one by one, so that each has its own answer.

#include "client/ledger-client.h"

#include <kj/vector.h>

namespace ledger::client {

// Thread: one owner at a time.
class JoinedReads final {
public:
  // `operations`, and what they point at, must outlive it.
  explicit JoinedReads(kj::ArrayPtr<const Operation> operations);

  // What to send instead.
  kj::ArrayPtr<const Operation> joined() const { return sent; }

  // Takes their results.
  void answer(kj::Array<OperationResult> results);

  // Reads that have no answer of their own yet. Often none.
  kj::ArrayPtr<const Operation> refused() const { return again; }

  // Takes theirs, in the same order.
  void answerRefused(kj::Array<OperationResult> results);

  // One for each of the operations.
  kj::Array<OperationResult> results() { return answers.releaseAsArray(); }

private:
  // A run of the operations that became one.
  struct Run {
    size_t begin, count;
    kj::Array<EncodedKey> keys;  // Of a run of reads; null: the operation as it was.
  };

  kj::ArrayPtr<const Operation> operations;
  kj::Vector<Run> runs;
  kj::Vector<Operation> sent;  // One for each run.
  kj::Vector<OperationResult> answers;
  kj::Vector<Operation> again;
  kj::Vector<size_t> againAt;  // Their places among the answers.
};

}  // namespace ledger::client
