// SPDX-License-Identifier: Apache-2.0
#pragma once
// The cases of cases.txt against one ledgerd, in each of several ways.
//
// One call after the other on this thread's event loop, as a program would make them that waits for
// each answer. What comes back is checked, off the clock.

#include "bench/case.h"
#include "bench/ledgerd.h"
#include "bench/samples.h"
#include "bench/step.h"
#include "bench/workload.h"
#include "client/connect.h"

#include <kj/async-io.h>
#include <kj/vector.h>

#include <map>
#include <string>

namespace ledger::bench {

// How a client reads and how payloads travel.
enum class Way {
  SHM,
  INLINE,
  DIRECT  // As SHM, but single registers are read in the server's store. Reads alone are measured.
};

// Thread: one.
class ServiceBench final {
public:
  struct Options {
    Workload workload;
    Ledgerd::Options ledgerd;
    kj::Array<Way> ways;  // Not empty; DIRECT is not the first.
  };

  // Starts ledgerd. `io` must outlive this.
  ServiceBench(kj::AsyncIoContext& io, Options options);

  // Prints a result for each way. What is done once is done in the first.
  void run(const Case& which);

  // Ends ledgerd; throws if it does not end cleanly.
  void stop();

private:
  struct Connection {
    Way way;
    kj::StringPtr name;  // Of the way.
    kj::Own<client::LedgerClient> client;
  };

  void connect();
  void load(const Case& which);
  void printFingerprint();
  void restart(const Case& which);
  void coreRead(const Case& which);
  Picks nextPicks(const Case& which);

  // The answer of a call that must succeed.
  template <typename T>
  T wait(kj::Promise<Result<T>> promise);

  kj::AsyncIoContext& io;
  const Options options;
  const Workload& workload;
  kj::Own<Ledgerd> ledgerd;  // Outlives the connections to it.
  kj::Vector<Connection> connections;

  States states;
  std::map<std::string, uint64_t> runs;  // Of each case.
};

}  // namespace ledger::bench
