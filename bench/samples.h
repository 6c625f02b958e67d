// SPDX-License-Identifier: Apache-2.0
#pragma once
// What was measured, and how it is told: lines of JSON on standard output, as flow-go/ prints them.

#include <kj/string.h>
#include <kj/vector.h>

#include <chrono>

namespace ledger::bench {

using Clock = std::chrono::steady_clock;

class Samples {
public:
  void add(Clock::duration one) { samples.add(one); }
  size_t size() const { return samples.size(); }

  // In microseconds, by nearest rank: the smallest sample that at least `part` of all do not
  // exceed. Throws if there is none.
  double percentile(double part) const;

private:
  kj::Vector<Clock::duration> samples;
};

// One result. Each is flushed, so that a program that waits for it sees it.
void printResult(kj::StringPtr caseName, kj::StringPtr transport, const Samples& samples);
void printBytes(kj::StringPtr caseName, kj::StringPtr transport, uint64_t bytes);

}  // namespace ledger::bench
