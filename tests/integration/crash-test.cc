// SPDX-License-Identifier: Apache-2.0
// Either side dies without a word.

#include "tests/integration/daemon-fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ledger::testing {
namespace {

constexpr size_t VALUES = 16, VALUE_SIZE = 1 << 20;

// A client in a process of its own, which reads `keys` at `state`, holds the answer in shared
// memory, and then waits to be killed. Forked, so it must be made before this process has threads.
class HoldingClient {
public:
  HoldingClient(std::string socket, const Registers& registers) {
    int go[2], held[2];
    KJ_SYSCALL(pipe(go));
    KJ_SYSCALL(pipe(held));
    goWriter = kj::AutoCloseFd(go[1]);
    heldReader = kj::AutoCloseFd(held[0]);
    KJ_SYSCALL(child = fork());
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(go[1]);
      close(held[0]);
      RootHash state;
      // The end of the pipe, or any fault: the parent sees `held` end.
      if (read(go[0], &state, sizeof(state)) == sizeof(state)) {
        kj::runCatchingExceptions([&]() { hold(socket, state, registers, held[1]); });
      }
      _exit(1);
    }
    close(go[0]);
    close(held[1]);
  }

  // Returns once it holds its regions. False: it failed.
  bool readAndHold(const RootHash& state) {
    KJ_SYSCALL(write(goWriter, &state, sizeof(state)));
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

  ~HoldingClient() {
    if (child > 0) kill();
  }

private:
  static void hold(const std::string& socket, const RootHash& state, const Registers& registers,
                   int held) {
    auto io = kj::setupAsyncIo();
    client::ConnectOptions how;
    how.address = socket.c_str();
    how.connection.transport = client::TransportChoice::SHM;
    auto ledger =
        client::connect(io.provider->getNetwork(), io.provider->getTimer(), how).wait(io.waitScope);
    auto values = ledger->get(state, registers.keys).wait(io.waitScope);
    auto proof = ledger->prove(state, registers.keys).wait(io.waitScope);
    if (!values.is<client::Values>() || !proof.is<client::View>()) return;
    if (values.get<client::Values>().place() != client::Place::SHARED_MEMORY) return;
    if (write(held, "h", 1) != 1) return;
    kj::Promise<void>(kj::NEVER_DONE).wait(io.waitScope);
  }

  pid_t child = -1;
  kj::AutoCloseFd goWriter, heldReader;
};

class Crash : public DaemonTest {};

// Would catch regions, arenas or sessions that outlive the client that held them.
TEST_F(Crash, OfAClientGivesItsSharedMemoryBack) {
  Registers registers(VALUES, VALUE_SIZE);
  HoldingClient holder(scratch / "socket", registers);
  startDaemon();
  auto ledger = connect(client::TransportChoice::INLINE);
  const RootHash state =
      answer(ledger->set(answer(ledger->initialState()), registers.keys, registers.values));

  const auto before = answer(ledger->info());
  ASSERT_EQ(before.sessions, 1u);
  ASSERT_TRUE(holder.readAndHold(state));
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
