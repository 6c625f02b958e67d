// SPDX-License-Identifier: Apache-2.0
#pragma once
// The operations of cases.txt that are calls of a client, one sample at a time.

#include "bench/case.h"
#include "bench/workload.h"
#include "client/ledger-client.h"

#include <kj/async.h>
#include <kj/memory.h>

#include <map>

namespace ledger::bench {

// Only call() is timed.
class Step {
public:
  virtual ~Step() noexcept(false) = default;

  virtual void prepare() {}
  virtual void call() = 0;
  virtual void check() {}  // Throws if the answer was wrong.

  // What the time of one call() is divided by.
  virtual uint64_t calls() const { return 1; }
};

// Where the benchmark is on its chain of states.
struct States {
  RootHash base;      // After the load.
  RootHash tip;       // After the last Set.
  uint64_t sets = 0;  // After the load, for versions of values.

  std::map<uint64_t, RootHash> largeIn;  // Where the value of so many bytes is.
};

// What a step works with; all of it must outlive the step.
struct Target {
  client::LedgerClient& client;
  kj::WaitScope& waitScope;
  const Workload& workload;
  States& states;
};

// Throws if the operation is none of these.
kj::Own<Step> makeStep(const Case& which, const Target& target, Picks picks);

}  // namespace ledger::bench
