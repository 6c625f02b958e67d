// SPDX-License-Identifier: Apache-2.0
#include "client/blocking-client.h"

#include "client/scripted-server.h"
#include "tests/testing/await.h"

#include <kj/debug.h>
#include <kj/mutex.h>
#include <kj/thread.h>

#include <gtest/gtest.h>

#include <string>

#include <stdlib.h>
#include <unistd.h>

namespace ledger::client {
namespace {

// A scripted server on a thread of its own.
class ServerThread final {
public:
  ServerThread() : thread([this]() { run(); }) {
    ledger::testing::await("the server", stop, [](auto& stop) { return stop != nullptr; });
  }
  ~ServerThread() noexcept(false) { KJ_ASSERT_NONNULL(*stop.lockExclusive())->fulfill(); }

  kj::StringPtr address() const { return path; }

private:
  void run() {
    auto io = kj::setupAsyncIo();
    Script script;
    auto serving = serveAt(io.provider->getNetwork(), path, script).eagerlyEvaluate(nullptr);
    io.waitScope.poll();
    auto stopped = kj::newPromiseAndCrossThreadFulfiller<void>();
    *stop.lockExclusive() = kj::mv(stopped.fulfiller);
    stopped.promise.wait(io.waitScope);
    serving = nullptr;
    unlink(path.cStr());
    rmdir(folder.cStr());
  }

  static kj::String makeFolder() {
    char name[] = "/tmp/client-test-XXXXXX";
    KJ_ASSERT(mkdtemp(name) != nullptr);
    return kj::str(name);
  }

  const kj::String folder = makeFolder();
  const kj::String path = kj::str(folder, "/s");
  kj::MutexGuarded<kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>>> stop;
  kj::Thread thread;  // Last: it uses the others.
};

std::string text(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

// An operation wired to another one's call.
TEST(BlockingClient, HasEveryOperation) {
  ServerThread server;
  BlockingClient client({.address = server.address()});
  const RootHash state = initialStateByRule();
  const EncodedKey keys[] = {"one"_kj.asBytes(), "absent"_kj.asBytes()};
  const Value values[] = {"x"_kj.asBytes(), nullptr};
  const Operation operations[] = {{Operation::HasState{state}}};

  EXPECT_EQ(client.initialState().get<RootHash>(), state);
  EXPECT_TRUE(client.hasState(state).get<bool>());
  EXPECT_EQ(text(client.getSingleValue(state, keys[0]).get<View>().bytes()), "oneone");
  EXPECT_EQ(text(client.get(state, keys).get<Values>()[0]), "oneone");
  EXPECT_EQ(client.set(state, keys, values).get<RootHash>(), stateAfter(state, 2));
  EXPECT_EQ(text(client.prove(state, keys).get<View>().bytes()), "oneabsent");
  EXPECT_EQ(client.states().get<kj::Array<RootHash>>().size(), 3u);
  EXPECT_EQ(client.stateCount().get<uint64_t>(), 3u);
  EXPECT_EQ(client.stateByIndex(1).get<RootHash>(), stateAfter(state, 1));
  EXPECT_EQ(client.info().get<ServerInfo>().build, "scripted 1"_kj);
  EXPECT_TRUE(client.batch(operations).get<kj::Array<OperationResult>>()[0].get<bool>());
}

// Answers that reach the wrong caller, or a lock that two callers wait for.
TEST(BlockingClient, ServesManyThreads) {
  ServerThread server;
  BlockingClient client({.address = server.address()});
  const RootHash state = initialStateByRule();
  kj::Vector<kj::Own<kj::Thread>> threads;
  for (int i = 0; i < 4; ++i) {
    threads.add(kj::heap<kj::Thread>([&, i]() {
      auto name = kj::str("key of thread ", i);
      for (int round = 0; round < 100; ++round) {
        auto value = client.getSingleValue(state, name.asBytes());
        ASSERT_EQ(text(value.get<View>().bytes()), kj::str(name, name).cStr());
      }
    }));
  }
  threads.clear();  // Joins them.
  EXPECT_EQ(client.info().get<ServerInfo>().arenas.regions, 0u);
}

// Views that die with the loop that brought them.
TEST(BlockingClient, ViewsOutliveTheClient) {
  ServerThread server;
  const EncodedKey keys[] = {"one"_kj.asBytes()};
  kj::Maybe<Values> kept;
  {
    BlockingClient client({.address = server.address()});
    auto values = client.get(initialStateByRule(), keys);
    kept = kj::mv(values.get<Values>());
  }
  EXPECT_EQ(text(KJ_ASSERT_NONNULL(kept)[0]), "oneone");
}

// A constructor that waits for ever, or a failure that ends the process on the other thread.
TEST(BlockingClient, TellsWhyItCannotConnect) {
  auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&]() {
    BlockingClient({.address = "/nowhere/at/all", .connectTimeout = 0 * kj::SECONDS});
  }));
  EXPECT_EQ(exception.getType(), kj::Exception::Type::DISCONNECTED);
}

// A lost server that hangs the caller.
TEST(BlockingClient, ALostServerIsAnException) {
  kj::Maybe<ServerThread> server;
  server.emplace();
  BlockingClient client(
      {.address = KJ_ASSERT_NONNULL(server).address(), .connectTimeout = 0 * kj::SECONDS});
  server = nullptr;
  for (int i = 0; i < 2; ++i) {
    auto exception = KJ_ASSERT_NONNULL(kj::runCatchingExceptions([&]() { client.stateCount(); }));
    EXPECT_EQ(exception.getType(), kj::Exception::Type::DISCONNECTED);
  }
}

}  // namespace
}  // namespace ledger::client
