// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ledgerd that is measured, in a process of its own.
//
// Unlike the tests' fixture it waits for readiness without limit, since the replay of a large log
// is one of the things measured, and knows what the process holds in memory.

#include <kj/io.h>
#include <kj/string.h>

#include <string>

#include <sys/types.h>

namespace ledger::bench {

// Thread: one; the process is killed when the thread that started it ends.
class Ledgerd final {
public:
  struct Options {
    std::string binary;
    std::string folder;  // Holds the ledger directory, the socket and the log. Must exist.
    uint32_t forestCapacity;
  };

  // Returns once it serves. Throws, with its log, if it ends instead.
  explicit Ledgerd(const Options& options);
  ~Ledgerd() noexcept;
  KJ_DISALLOW_COPY(Ledgerd);

  kj::StringPtr socket() const { return socketPath.c_str(); }

  // Throws if it does not end cleanly.
  void stop();

  // Bytes: its anonymous memory and the blocks of every memfd that it has open.
  uint64_t memory() const;

private:
  [[noreturn]] void failWithLog(kj::StringPtr what);

  const std::string socketPath;
  const std::string logPath;
  pid_t pid = -1;  // -1: ended.
};

}  // namespace ledger::bench
