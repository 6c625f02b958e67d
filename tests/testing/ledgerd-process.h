// SPDX-License-Identifier: Apache-2.0
#pragma once
// A ledgerd process of a test's own: started, waited for, stopped or killed.
//
// Readiness comes over a pipe (--ready-fd), so that nothing sleeps. The process dies with the test,
// however the test ends.

#include <kj/io.h>
#include <kj/string.h>

#include <string>
#include <sys/types.h>
#include <vector>

namespace ledger::testing {

struct LedgerdOptions {
  std::string binary;   // Path of ledgerd.
  std::string triedir;  // Made by ledgerd if it is not there.
  std::string socket;
  std::vector<std::string> flags;    // Further ones.
  std::vector<std::string> wrapper;  // A command that execs its arguments: "unshare", "--net"...
  // Lets a test put the process somewhere (a cgroup) before it begins: called in the child between
  // fork and exec, so only async-signal-safe calls.
  void (*inChild)(const char* argument) = nullptr;
  std::string inChildArgument;
};

// How a process ended.
struct Ended {
  bool bySignal;
  int number;  // Exit code or signal.

  bool cleanly() const { return !bySignal && number == 0; }
  kj::String describe() const;
};

// Thread: one; the process is killed when the thread that started it ends.
class LedgerdProcess final {
public:
  // Returns once ledgerd serves. Throws, with what it wrote to stderr, if it ends instead, or after
  // a minute.
  explicit LedgerdProcess(LedgerdOptions options);
  ~LedgerdProcess() noexcept;  // kill(), if it still runs.
  KJ_DISALLOW_COPY(LedgerdProcess);

  pid_t pid() const { return child; }
  bool running();  // False once it has ended, which it may do on its own.

  Ended stop();  // SIGTERM, and waits for the end.
  Ended kill();  // SIGKILL, likewise.
  Ended wait();  // Waits for its end.

  // What it has written to stderr so far.
  kj::String log() const;

private:
  void awaitReady(kj::AutoCloseFd readyPipe);

  pid_t child = -1;
  kj::AutoCloseFd logFile;
  kj::Maybe<Ended> ended;
};

// Runs ledgerd to its end, for starts that must be refused. Readiness is not waited for.
struct RunToEnd {
  Ended ended;
  kj::String log;
};
RunToEnd runLedgerd(LedgerdOptions options);

// The ledgerd that the build made for a test that has //server:ledgerd as data; LEDGERD_BINARY
// names another one.
std::string ledgerdBinary();

}  // namespace ledger::testing
