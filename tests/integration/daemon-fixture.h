// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the integration tests share: a ledgerd on an empty directory, and clients of it.

#include "client/connect.h"
#include "tests/testing/registers.h"
#include "tests/testing/ledgerd-process.h"
#include "tests/testing/scratch-folder.h"

#include <kj/async-io.h>
#include <kj/debug.h>

#include <gtest/gtest.h>

namespace ledger::testing {

// Thread: the test's.
class DaemonTest : public ::testing::Test {
public:
  ~DaemonTest() noexcept override {}  // KJ's members may throw; a test's destructor may not.

protected:
  // Not started yet.
  LedgerdOptions options(std::vector<std::string> flags = {}) {
    LedgerdOptions result;
    result.binary = ledgerdBinary();
    result.triedir = scratch / "triedir";
    result.socket = scratch / "socket";
    result.flags = kj::mv(flags);
    return result;
  }

  void startDaemon(std::vector<std::string> flags = {}) { startWith(options(kj::mv(flags))); }
  void startWith(LedgerdOptions how) { daemon = kj::heap<LedgerdProcess>(kj::mv(how)); }

  // Every read is a call.
  kj::Own<client::LedgerClient> connect(
      client::TransportChoice transport = client::TransportChoice::SHM) {
    return connectTo(scratch / "socket", transport);
  }

  kj::Own<client::LedgerClient> connectTo(const std::string& socket,
                                          client::TransportChoice transport) {
    client::ConnectOptions how;
    how.address = socket.c_str();
    how.connection.transport = transport;
    how.connection.directReads = false;
    return client::connect(io.provider->getNetwork(), io.provider->getTimer(), how)
        .wait(io.waitScope);
  }

  // Waits; a refusal fails the test with its message.
  template <typename T>
  T answer(kj::Promise<Result<T>> promise) {
    auto result = promise.wait(io.waitScope);
    KJ_SWITCH_ONEOF(result) {
      KJ_CASE_ONEOF(error, Error) {
        KJ_FAIL_REQUIRE("refused", error.message);
      }
      KJ_CASE_ONEOF(value, T) {
        return kj::mv(value);
      }
    }
    KJ_UNREACHABLE;
  }

  // Calls `holds` until it does, or fails after ten seconds; each call is a round trip at least.
  template <typename Condition>
  bool eventually(Condition&& holds) {
    auto& timer = io.provider->getTimer();
    const auto deadline = timer.now() + 10 * kj::SECONDS;
    while (timer.now() < deadline) {
      if (holds()) return true;
    }
    return false;
  }

  ScratchFolder scratch;
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<LedgerdProcess> daemon;
};

}  // namespace ledger::testing
