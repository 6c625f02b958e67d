// SPDX-License-Identifier: Apache-2.0
#include "client/joined-reads.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

// Fewer are not worth a payload of their own.
constexpr size_t FEWEST_JOINED = 4;

const Operation::GetSingleValue* singleRead(const Operation& operation) {
  KJ_IF_MAYBE (read, operation.what.tryGet<Operation::GetSingleValue>()) return read;
  return nullptr;
}

// Reads of one state from the first of `operations` on.
size_t runOfReads(kj::ArrayPtr<const Operation> operations) {
  auto* first = singleRead(operations[0]);
  if (first == nullptr) return 0;
  size_t count = 1;
  while (count < operations.size()) {
    auto* next = singleRead(operations[count]);
    if (next == nullptr || next->state != first->state) break;
    ++count;
  }
  return count;
}

Operation copyOf(const Operation& operation) {
  return {operation.what};
}

}  // namespace

JoinedReads::JoinedReads(kj::ArrayPtr<const Operation> operations) : operations(operations) {
  for (size_t i = 0; i < operations.size();) {
    auto reads = runOfReads(operations.slice(i, operations.size()));
    if (reads < FEWEST_JOINED) {
      runs.add(Run{i, 1, nullptr});
      sent.add(copyOf(operations[i]));
      ++i;
      continue;
    }
    auto keys = KJ_MAP(read, operations.slice(i, i + reads)) {
      return singleRead(read)->key;
    };
    sent.add(Operation{Operation::Get{singleRead(operations[i])->state, keys}});
    runs.add(Run{i, reads, kj::mv(keys)});
    i += reads;
  }
}

void JoinedReads::answer(kj::Array<OperationResult> results) {
  KJ_REQUIRE(results.size() == runs.size(), results.size(), runs.size());
  answers.reserve(operations.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    auto& run = runs[i];
    if (run.keys == nullptr) {
      answers.add(kj::mv(results[i]));
      continue;
    }
    KJ_IF_MAYBE (error, results[i].tryGet<Error>()) {
      const bool isOfOne = error->reason == Reason::BAD_KEY || error->reason == Reason::TOO_LARGE;
      for (size_t at = run.begin; at < run.begin + run.count; ++at) {
        answers.add(error->clone());
        if (!isOfOne) continue;
        again.add(copyOf(operations[at]));
        againAt.add(at);
      }
      continue;
    }
    auto& values = results[i].get<Values>();
    for (size_t index = 0; index < values.size(); ++index) answers.add(values.view(index));
  }
}

void JoinedReads::answerRefused(kj::Array<OperationResult> results) {
  KJ_REQUIRE(results.size() == again.size(), results.size(), again.size());
  for (size_t i = 0; i < results.size(); ++i) answers[againAt[i]] = kj::mv(results[i]);
}

}  // namespace ledger::client
