// SPDX-License-Identifier: Apache-2.0
// A client across connections: patience, time limits, and servers that come and go.
#include "client/connect.h"

#include "client/scripted-server.h"

#include <kj/debug.h>
#include <kj/filesystem.h>

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <stdlib.h>
#include <unistd.h>

namespace ledger::client {
namespace {

// Draws the middle of every range, and counts upwards for ids.
class Predictable final : public RandomSource {
public:
  void fill(kj::ArrayPtr<kj::byte> out) override {
    if (out.size() == 4) {
      memset(out.begin(), 0x80, 4);
    } else {
      memset(out.begin(), ++drawn, out.size());
    }
  }

private:
  kj::byte drawn = 0;
};

// Ahead of the timer by as much as the loop has not waited since.
class LateClock final : public kj::MonotonicClock {
public:
  explicit LateClock(const kj::Timer& timer) : timer(timer) {}
  kj::TimePoint now() const override { return timer.now() + ahead; }

  kj::Duration ahead = 0 * kj::SECONDS;

private:
  const kj::Timer& timer;
};

// Sockets are real, time is not: it moves when a test moves it.
class ConnectTest : public testing::Test {
public:
  ~ConnectTest() noexcept override {
    unlink(path.cStr());
    rmdir(folder.cStr());
  }

protected:
  static kj::String makeFolder() {
    char name[] = "/tmp/client-test-XXXXXX";
    KJ_ASSERT(mkdtemp(name) != nullptr);
    return kj::str(name);
  }

  void start() {
    serving = serveAt(io.provider->getNetwork(), path, script).eagerlyEvaluate(nullptr);
    io.waitScope.poll();
  }

  void stop() {
    serving = nullptr;
    unlink(path.cStr());
  }

  ConnectOptions options() const { return {.address = path}; }

  kj::Promise<kj::Own<LedgerClient>> connecting(const ConnectOptions& options) {
    return connect(io.provider->getNetwork(), timer, options, random, clock);
  }

  void connected(const ConnectOptions& options) { client = connecting(options).wait(io.waitScope); }

  // What `promise` ends with: the exception, or null.
  template <typename T>
  kj::Maybe<kj::Exception> thrown(kj::Promise<T>& promise) {
    return kj::runCatchingExceptions([&]() { promise.wait(io.waitScope); });
  }
  template <typename T>
  kj::Maybe<kj::Exception> thrown(kj::Promise<T>&& promise) {
    return thrown(promise);
  }

  // Moves time from one appointment to the next until `promise` is done, and says when it looked.
  template <typename T>
  std::vector<int64_t> runUntilDone(kj::Promise<T>& promise) {
    std::vector<int64_t> times;
    while (!promise.poll(io.waitScope)) {
      timer.advanceTo(KJ_ASSERT_NONNULL(timer.nextEvent(), "nothing will happen any more"));
      times.push_back((timer.now() - kj::origin<kj::TimePoint>()) / kj::MILLISECONDS);
    }
    return times;
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::TimerImpl timer{kj::origin<kj::TimePoint>()};
  LateClock clock{timer};
  Predictable random;
  const kj::String folder = makeFolder();
  const kj::String path = kj::str(folder, "/s");
  Script script;
  kj::Promise<void> serving = nullptr;
  kj::Own<LedgerClient> client;
};

// --- Connecting

TEST_F(ConnectTest, TakesAPathOrAUnixAddress) {
  start();
  connected(options());
  auto prefixed = kj::str("unix:", path);
  connected({.address = prefixed});
  EXPECT_EQ(client->stateCount().wait(io.waitScope).get<uint64_t>(), 3u);
  EXPECT_EQ(script.seen.sessions, 2u);
}

// Attempts that are too many, too few, or go on after the deadline.
TEST_F(ConnectTest, TriesAgainAtGrowingIntervalsUntilTheDeadline) {
  auto connecting = this->connecting(
      {.address = path, .connectTimeout = 1500 * kj::MILLISECONDS, .backoff = {.jitter = 0}});
  EXPECT_EQ(runUntilDone(connecting), (std::vector<int64_t>{100, 250, 475, 812, 1318}));
  auto exception = KJ_ASSERT_NONNULL(thrown(connecting));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::DISCONNECTED);
  // The reader learns where, why and how often.
  std::string text = exception.getDescription().cStr();
  EXPECT_NE(text.find(path.cStr()), std::string::npos) << text;
  EXPECT_NE(text.find("No such file"), std::string::npos) << text;
  EXPECT_NE(text.find("6"), std::string::npos) << text;
}

TEST_F(ConnectTest, ATimeoutOfZeroIsOneAttempt) {
  auto connecting = this->connecting({.address = path, .connectTimeout = 0 * kj::SECONDS});
  EXPECT_EQ(runUntilDone(connecting).size(), 0u);
  EXPECT_TRUE(thrown(connecting) != nullptr);
}

// A client that gives up although the server came up in time.
TEST_F(ConnectTest, FindsAServerThatComesUpLater) {
  auto connecting = this->connecting(options());
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(connecting.poll(io.waitScope));
    timer.advanceTo(KJ_ASSERT_NONNULL(timer.nextEvent()));
  }
  EXPECT_FALSE(connecting.poll(io.waitScope));
  start();
  runUntilDone(connecting);
  client = connecting.wait(io.waitScope);
  EXPECT_EQ(client->stateCount().wait(io.waitScope).get<uint64_t>(), 3u);
}

// A server that accepts and says nothing: the client would wait for ever.
TEST_F(ConnectTest, AHandshakeHasATimeLimit) {
  script.shakesHands = false;
  start();
  auto connecting = this->connecting(
      {.address = path, .connectTimeout = 15 * kj::SECONDS, .handshakeTimeout = 10 * kj::SECONDS});
  runUntilDone(connecting);
  EXPECT_EQ(KJ_ASSERT_NONNULL(thrown(connecting)).getType(), kj::Exception::Type::DISCONNECTED);
  // The second attempt may begin before the deadline and take its time.
  EXPECT_LE(timer.now() - kj::origin<kj::TimePoint>(), 25 * kj::SECONDS);
}

// The same before connecting: one attempt where there should be several, given up at once.
TEST_F(ConnectTest, PatienceBeginsWithTheFirstAttempt) {
  clock.ahead = 60 * kj::SECONDS;
  auto connecting = this->connecting(
      {.address = path, .connectTimeout = 500 * kj::MILLISECONDS, .backoff = {.jitter = 0}});
  timer.advanceTo(clock.now());
  clock.ahead = 0 * kj::SECONDS;
  EXPECT_EQ(runUntilDone(connecting), (std::vector<int64_t>{60100, 60250, 60475}));
}

// The handshake's limit is over before the loop has looked at the socket.
TEST_F(ConnectTest, AHandshakesLimitBeginsWithTheAttempt) {
  start();
  clock.ahead = 60 * kj::SECONDS;
  auto connecting = this->connecting({.address = path, .connectTimeout = 0 * kj::SECONDS});
  timer.advanceTo(clock.now());
  clock.ahead = 0 * kj::SECONDS;
  EXPECT_TRUE(thrown(connecting) == nullptr);
}

// The default clock must be the one that the default timer follows.
TEST_F(ConnectTest, TheSystemsClockIsItsTimers) {
  auto& system = kj::systemPreciseMonotonicClock();
  const auto before = system.now();
  auto& systemsTimer = io.provider->getTimer();
  systemsTimer.afterDelay(1 * kj::NANOSECONDS).wait(io.waitScope);
  EXPECT_LE(before, systemsTimer.now());
  EXPECT_LE(systemsTimer.now(), system.now());
}

// A refusal that is asked for again and again, or one that passes and is not.
TEST_F(ConnectTest, OnlyPassingRefusalsAreRetried) {
  start();
  script.handshakesToRefuse = 3;
  auto connecting = this->connecting(options());
  EXPECT_EQ(runUntilDone(connecting).size(), 3u);
  EXPECT_TRUE(thrown(connecting) == nullptr);

  script.handshakesToRefuse = 3;
  script.refusal = rpc::Code::FAILED_PRECONDITION;
  auto final = this->connecting(options());
  EXPECT_EQ(runUntilDone(final).size(), 0u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(thrown(final)).getType(), kj::Exception::Type::FAILED);
  EXPECT_EQ(script.handshakesToRefuse, 2u);
}

// --- Calls

// A call that waits for ever; or a late answer that spoils the next call.
TEST_F(ConnectTest, ACallHasATimeLimit) {
  start();
  connected({.address = path, .callTimeout = 5 * kj::SECONDS});
  script.answers = false;
  auto call = client->stateCount();
  EXPECT_FALSE(call.poll(io.waitScope));
  timer.advanceTo(timer.now() + 5 * kj::SECONDS - 1 * kj::NANOSECONDS);
  EXPECT_FALSE(call.poll(io.waitScope));
  timer.advanceTo(timer.now() + 1 * kj::NANOSECONDS);
  EXPECT_TRUE(call.poll(io.waitScope));
  auto exception = KJ_ASSERT_NONNULL(thrown(call));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::OVERLOADED);
  EXPECT_NE(std::string(exception.getDescription().cStr()).find("stateCount"), std::string::npos);

  script.answers = true;
  EXPECT_EQ(client->stateCount().wait(io.waitScope).get<uint64_t>(), 3u);
  EXPECT_EQ(script.seen.sessions, 1u);
}

// An application that computes for a minute: its next call would be late before it was sent.
TEST_F(ConnectTest, TimeLimitsBeginWithTheCall) {
  start();
  connected({.address = path, .callTimeout = 5 * kj::SECONDS});
  script.answers = false;
  clock.ahead = 60 * kj::SECONDS;
  auto call = client->stateCount();
  timer.advanceTo(clock.now());  // As the loop does when it waits.
  clock.ahead = 0 * kj::SECONDS;
  EXPECT_FALSE(call.poll(io.waitScope));
  timer.advanceTo(timer.now() + 5 * kj::SECONDS);
  EXPECT_TRUE(call.poll(io.waitScope));
  EXPECT_EQ(KJ_ASSERT_NONNULL(thrown(call)).getType(), kj::Exception::Type::OVERLOADED);
}

// A client that stays broken; or one that hides from the caller that a call was lost.
TEST_F(ConnectTest, TheNextCallAfterALossConnectsAgain) {
  start();
  connected(options());
  const RootHash state = initialStateByRule();
  const EncodedKey keys[] = {"one"_kj.asBytes()};
  auto viewed = client->prove(state, keys).wait(io.waitScope);
  auto& view = viewed.get<View>();

  script.answers = false;
  auto lost = client->prove(state, keys);
  EXPECT_FALSE(lost.poll(io.waitScope));
  stop();
  EXPECT_EQ(KJ_ASSERT_NONNULL(thrown(lost)).getType(), kj::Exception::Type::DISCONNECTED);
  EXPECT_EQ(std::string(view.bytes().asChars().begin(), view.size()), "one");

  script.answers = true;
  start();
  auto viewedAgain = client->prove(state, keys).wait(io.waitScope);
  auto& again = viewedAgain.get<View>();
  EXPECT_EQ(std::string(again.bytes().asChars().begin(), again.size()), "one");
  EXPECT_EQ(script.seen.sessions, 2u);
}

// A reconnection for every waiting call, or waiting calls that are lost with the failed attempts.
TEST_F(ConnectTest, CallsShareOneReconnection) {
  start();
  connected(options());
  stop();
  io.waitScope.poll();
  auto first = client->stateCount(), second = client->stateCount();
  EXPECT_FALSE(first.poll(io.waitScope));
  EXPECT_FALSE(second.poll(io.waitScope));
  start();
  runUntilDone(first);
  runUntilDone(second);
  EXPECT_EQ(first.wait(io.waitScope).get<uint64_t>(), 3u);
  EXPECT_EQ(second.wait(io.waitScope).get<uint64_t>(), 3u);
  EXPECT_EQ(script.seen.sessions, 2u);
}

// A socket and mappings of a server that is gone, held until somebody calls again.
TEST_F(ConnectTest, ALostConnectionIsLetGo) {
  auto openFiles = []() {
    return kj::newDiskFilesystem()
        ->getRoot()
        .openSubdir(kj::Path{"proc", "self", "fd"})
        ->listNames()
        .size();
  };
  auto before = openFiles();
  for (bool calling : {false, true}) {
    SCOPED_TRACE(calling);
    script.answers = true;
    start();
    connected(options());
    EXPECT_EQ(client->stateCount().wait(io.waitScope).get<uint64_t>(), 3u);
    script.answers = false;
    auto call = client->stateCount();
    if (calling) {
      EXPECT_FALSE(call.poll(io.waitScope));
    } else {
      call = nullptr;
    }
    EXPECT_GT(openFiles(), before);
    stop();
    if (calling) {
      EXPECT_TRUE(thrown(call) != nullptr);
    }
    io.waitScope.poll();
    EXPECT_EQ(openFiles(), before);
  }
}

// A client that, having failed to reconnect once, never tries again.
TEST_F(ConnectTest, AFailedReconnectionIsNotTheLast) {
  start();
  connected({.address = path, .connectTimeout = 0 * kj::SECONDS});
  stop();
  io.waitScope.poll();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(KJ_ASSERT_NONNULL(thrown(client->stateCount())).getType(),
              kj::Exception::Type::DISCONNECTED);
  }
  start();
  EXPECT_EQ(client->stateCount().wait(io.waitScope).get<uint64_t>(), 3u);
}

// --- Set ids and retries

class Retries : public ConnectTest {
protected:
  // A Set that is in flight when the server goes, and what it brings once another one is up.
  kj::Maybe<kj::Exception> loseAndRestart(kj::Promise<Result<RootHash>>& setting) {
    EXPECT_FALSE(setting.poll(io.waitScope));
    stop();
    start();
    return thrown(setting);
  }

  const RootHash state = initialStateByRule();
  const EncodedKey keys[1] = {"one"_kj.asBytes()};
  const Value values[1] = {"two"_kj.asBytes()};
};

// Two Sets of different content under one id: the second would be answered with the first's result.
TEST_F(Retries, EachSetHasAnIdOfItsOwn) {
  start();
  connected(options());
  for (int i = 0; i < 3; ++i) client->set(state, keys, values).wait(io.waitScope);
  const Operation batch[] = {{Operation::Set{state, keys, values}},
                             {Operation::Set{state, keys, values, SetId{42}}}};
  client->batch(batch).wait(io.waitScope);
  ASSERT_EQ(script.seen.setIds.size(), 5u);
  for (kj::byte i = 0; i < 4; ++i) {
    SetId expected;
    expected.fill(i + 1);
    EXPECT_EQ(script.seen.setIds[i].asPtr(), kj::arrayPtr(expected.data(), expected.size()));
  }
  EXPECT_EQ(script.seen.setIds[4][0], 42);
}

TEST_F(Retries, NothingIsSentTwiceUnasked) {
  start();
  connected(options());
  script.answers = false;
  auto setting = client->set(state, keys, values);
  EXPECT_FALSE(setting.poll(io.waitScope));
  script.answers = true;
  EXPECT_EQ(KJ_ASSERT_NONNULL(loseAndRestart(setting)).getType(),
            kj::Exception::Type::DISCONNECTED);
  EXPECT_EQ(script.seen.setIds.size(), 0u);
}

// A retry under another id: the server could not tell that it is one.
TEST_F(Retries, ARetryCarriesTheFirstId) {
  start();
  connected({.address = path, .onDisconnect = OnDisconnect::RETRY_ONCE});
  client->set(state, keys, values).wait(io.waitScope);
  script.answers = false;
  auto setting = client->set(state, keys, values);
  EXPECT_FALSE(setting.poll(io.waitScope));
  script.answers = true;
  EXPECT_TRUE(loseAndRestart(setting) == nullptr);
  ASSERT_EQ(script.seen.setIds.size(), 2u);
  EXPECT_EQ(script.seen.setIds[1][0], 2);
}

// A retry of the retry, for ever.
TEST_F(Retries, ARetryIsTheLastAttempt) {
  start();
  connected({.address = path, .onDisconnect = OnDisconnect::RETRY_ONCE});
  script.answers = false;
  auto setting = client->set(state, keys, values);
  EXPECT_FALSE(setting.poll(io.waitScope));
  stop();
  start();
  EXPECT_FALSE(setting.poll(io.waitScope));
  EXPECT_EQ(script.seen.sessions, 2u);
  stop();
  EXPECT_EQ(KJ_ASSERT_NONNULL(thrown(setting)).getType(), kj::Exception::Type::DISCONNECTED);
  EXPECT_EQ(script.seen.sessions, 2u);
}

}  // namespace
}  // namespace ledger::client
