// SPDX-License-Identifier: Apache-2.0
// Either side dies without a word.

#include "tests/integration/daemon-fixture.h"

#include <kj/encoding.h>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace ledger::testing {
namespace {

constexpr size_t VALUES = 16, VALUE_SIZE = 1 << 20;

// A client in a process of its own (holding-client.cc).
class HoldingClient {
public:
  HoldingClient(std::string socket, const RootHash& state) {
    int ends[2];
    KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
    heldReader = kj::AutoCloseFd(ends[0]);
    kj::AutoCloseFd heldWriter(ends[1]);
    std::string program = "tests/integration/holding-client",
                hex = kj::encodeHex(state.ptr()).cStr(), count = std::to_string(VALUES);
    char* argv[] = {program.data(), socket.data(), hex.data(), count.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, heldWriter, 1);
    const int error = posix_spawn(&child, argv[0], &actions, nullptr, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    KJ_REQUIRE(error == 0, "cannot run", argv[0], strerror(error));
  }

  // Waits until it holds its regions. False: it failed.
  bool holds() {
    char byte;
    ssize_t n;
    KJ_SYSCALL(n = read(heldReader, &byte, 1));
    return n == 1;
  }

  void kill() {
    KJ_SYSCALL(::kill(child, SIGKILL));
    int status;
    KJ_SYSCALL(waitpid(child, &status, 0));
    child = -1;
  }

  ~HoldingClient() noexcept {
    if (child > 0) kill();
  }

private:
  pid_t child = -1;
  kj::AutoCloseFd heldReader;
};

class Crash : public DaemonTest {};

// Would catch regions, arenas or sessions that outlive the client that held them.
TEST_F(Crash, OfAClientGivesItsSharedMemoryBack) {
  Registers registers(VALUES, VALUE_SIZE);
  startDaemon();
  auto ledger = connect(client::TransportChoice::INLINE);
  const RootHash state =
      answer(ledger->set(answer(ledger->initialState()), registers.keys, registers.values));

  const auto before = answer(ledger->info());
  ASSERT_EQ(before.sessions, 1u);
  HoldingClient holder(scratch / "socket", state);
  ASSERT_TRUE(holder.holds());
  const auto during = answer(ledger->info());
  EXPECT_EQ(during.sessions, 2u);
  EXPECT_GE(during.ledger.memoryUsed, before.ledger.memoryUsed + 2 * VALUES * VALUE_SIZE);

  holder.kill();
  EXPECT_TRUE(eventually([&]() {
    auto after = answer(ledger->info());
    return after.sessions == 1 && after.ledger.memoryUsed <= before.ledger.memoryUsed;
  })) << "used before: "
      << before.ledger.memoryUsed << ", now: " << answer(ledger->info()).ledger.memoryUsed;
}

// Would catch a client that waits for an answer that cannot come, one that cannot connect again,
// and a server that loses what it had acknowledged.
TEST_F(Crash, OfTheServerIsSeenAtOnceAndLosesNothing) {
  startDaemon();
  auto ledger = connect();
  kj::Vector<RootHash> acknowledged;
  acknowledged.add(answer(ledger->initialState()));
  for (uint64_t i = 0; i < 20; ++i) {
    Registers one(3, 1000, 100 * i);
    acknowledged.add(answer(ledger->set(acknowledged.back(), one.keys, one.values)));
  }

  // One call is in flight when the server dies: stopped, it cannot answer before.
  KJ_SYSCALL(kill(daemon->pid(), SIGSTOP));
  Registers last(3, 1000, 7777);
  auto inFlight = ledger->set(acknowledged.back(), last.keys, last.values);
  EXPECT_FALSE(inFlight.poll(io.waitScope));
  auto& timer = io.provider->getTimer();
  daemon->kill();
  const auto killed = timer.now();
  auto fault = kj::runCatchingExceptions([&]() { inFlight.wait(io.waitScope); });
  const auto seen = timer.now();
  KJ_IF_MAYBE (exception, fault) {
    EXPECT_EQ(exception->getType(), kj::Exception::Type::DISCONNECTED)
        << kj::str(*exception).cStr();
  } else {
    ADD_FAILURE() << "a dead server answered";
  }
  EXPECT_LT((seen - killed) / kj::MILLISECONDS, 1000);

  startDaemon();  // On the same directory, behind the same socket.
  for (auto& state : acknowledged) {
    EXPECT_TRUE(answer(ledger->hasState(state)));
  }
  // The Set without an answer may have been applied or not; sent again, it gives its state.
  const RootHash next = answer(ledger->set(acknowledged.back(), last.keys, last.values));
  auto values = answer(ledger->get(next, last.keys));
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(values[i] == last.values[i]);
  }
}

}  // namespace
}  // namespace ledger::testing
