// SPDX-License-Identifier: Apache-2.0
#pragma once
// Stands on the socket between a client and ledgerd, passes everything on, descriptors too, and
// counts the bytes.

#include <kj/io.h>
#include <kj/thread.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace ledger::testing {

// Thread: counters may be read from any thread; one thread of its own does the work.
class CountingProxy final {
public:
  // Listens on `front` and connects to `back` for each client.
  CountingProxy(const std::string& front, const std::string& back);
  ~CountingProxy() noexcept(false);
  KJ_DISALLOW_COPY(CountingProxy);

  // Both ways, since the last reset().
  uint64_t bytes() const { return passed.load(); }
  uint64_t descriptors() const { return handedOver.load(); }
  void reset();

private:
  void run(int listener, int stop);

  const std::string back;
  std::atomic<uint64_t> passed{0}, handedOver{0};
  kj::AutoCloseFd stopWriter;  // Closing it ends the thread.
  kj::Own<kj::Thread> thread;  // Last: joined before what it uses goes.
};

}  // namespace ledger::testing
