// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests: one session and a scripted server, at the two ends of a socket.

#include "client/scripted-server.h"
#include "client/session-client.h"

#include <kj/async-io.h>
#include <kj/debug.h>

#include <gtest/gtest.h>

#include <string>

namespace ledger::client {

inline std::string text(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

inline EncodedKey key(kj::StringPtr text) {
  return text.asBytes();
}

// A client and a scripted server at the two ends of a socket.
class SessionTest : public testing::Test {
public:
  ~SessionTest() noexcept override {}  // googletest's own does not throw; KJ's members might.

protected:
  void open(ConnectionOptions options = {.storeViews = true}) {
    auto pipe = io.provider->newCapabilityPipe();
    serving = serve(kj::mv(pipe.ends[1]), script).eagerlyEvaluate(nullptr);
    auto opened =
        Connection::open(kj::mv(pipe.ends[0]), io.provider->getTimer(), options).wait(io.waitScope);
    if (opened.is<Error>()) {
      refusal = kj::mv(opened.get<Error>());
      return;
    }
    client = kj::refcounted<SessionClient>(kj::mv(opened.get<kj::Own<Connection>>()));
  }

  // What a call brings that is expected to succeed.
  template <typename T>
  T good(kj::Promise<Result<T>> promise) {
    auto result = promise.wait(io.waitScope);
    KJ_IF_MAYBE (error, result.template tryGet<Error>()) KJ_FAIL_ASSERT(error->message);
    return kj::mv(result.template get<T>());
  }

  template <typename T>
  Error refused(kj::Promise<Result<T>> promise) {
    auto result = promise.wait(io.waitScope);
    KJ_ASSERT(result.template is<Error>(), "was not refused");
    return kj::mv(result.template get<Error>());
  }

  // The type of the exception that a call ends with; null if it does not.
  template <typename T>
  kj::Maybe<kj::Exception> thrown(kj::Promise<T> promise) {
    return promise.ignoreResult()
        .then(
            []() -> kj::Maybe<kj::Exception> { return nullptr; },
            [](kj::Exception&& exception) -> kj::Maybe<kj::Exception> { return kj::mv(exception); })
        .wait(io.waitScope);
  }

  // Lets messages that are under way arrive: their order is kept, and one round trip follows them.
  uint32_t regionsHeld() {
    good(client->stateCount());
    return script.seen.regionsHeld;
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};  // Of one test; the others use io's.
  Script script;
  kj::Promise<void> serving = nullptr;
  kj::Maybe<Error> refusal;
  kj::Own<SessionClient> client;
  const RootHash state = initialStateByRule();
  const EncodedKey keys[4] = {key("one"), key("absent"), key("three"), key("four")};
};

}  // namespace ledger::client
