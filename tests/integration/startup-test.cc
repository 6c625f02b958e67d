// SPDX-License-Identifier: Apache-2.0
// Starts that must be refused, and one that must not: what is in the socket's place, and who else
// has the directory.

#include "tests/integration/daemon-fixture.h"

#include <fstream>
#include <string.h>
#include <sys/stat.h>

namespace ledger::testing {
namespace {

class Startup : public DaemonTest {
protected:
  void expectRefusal(LedgerdOptions how, const char* reason) {
    auto run = runLedgerd(kj::mv(how));
    EXPECT_FALSE(run.ended.bySignal);
    EXPECT_EQ(run.ended.number, 1) << run.log.cStr();
    EXPECT_NE(strstr(run.log.cStr(), reason), nullptr) << "expected \"" << reason << "\" in:\n"
                                                       << run.log.cStr();
  }
};

// Would catch a lock that is not taken, or taken too late: the second server must not have touched
// the log.
TEST_F(Startup, SecondServerOnADirectoryIsRefused) {
  startDaemon();
  const auto before = filesOf(scratch / "triedir");
  auto second = options();
  second.socket = scratch / "other";
  expectRefusal(kj::mv(second), "another process is already using this directory");
  EXPECT_EQ(filesOf(scratch / "triedir"), before);
  // The first one still serves.
  auto ledger = connect();
  EXPECT_EQ(answer(ledger->stateCount()), 1u);
}

// Would catch a server that takes another one's socket away: flow-go does.
TEST_F(Startup, LiveSocketIsRefused) {
  startDaemon();
  auto second = options();
  second.triedir = scratch / "other-triedir";
  expectRefusal(kj::mv(second), "cannot serve here: another process serves this socket");
  auto ledger = connect();
  EXPECT_EQ(answer(ledger->stateCount()), 1u);
}

// A crash leaves the socket's file behind; nobody answers there, so it is replaced.
TEST_F(Startup, StaleSocketIsReplaced) {
  startDaemon();
  daemon->kill();
  struct stat file;
  ASSERT_EQ(stat((scratch / "socket").c_str(), &file), 0);
  ASSERT_TRUE(S_ISSOCK(file.st_mode));
  startDaemon();
  auto ledger = connect();
  EXPECT_EQ(answer(ledger->stateCount()), 1u);
}

// Would catch a server that deletes whatever is at its socket's path: flow-go does.
TEST_F(Startup, FileInTheSocketsPlaceIsLeftAlone) {
  std::ofstream(scratch / "socket") << "precious";
  expectRefusal(options(), "cannot serve here: the path exists and is not a socket");
  std::string text;
  std::ifstream(scratch / "socket") >> text;
  EXPECT_EQ(text, "precious");
}

// The mode is there from the first moment on, and the socket goes with a clean stop.
TEST_F(Startup, SocketHasItsModeAndGoesWithACleanStop) {
  startDaemon();
  struct stat file;
  ASSERT_EQ(stat((scratch / "socket").c_str(), &file), 0);
  EXPECT_EQ(file.st_mode & 0777, 0660u);
  EXPECT_TRUE(daemon->stop().cleanly()) << daemon->log().cStr();
  EXPECT_NE(stat((scratch / "socket").c_str(), &file), 0);
}

// Would catch a clean stop that drops a call it had begun, or a restart that lacks its state.
TEST_F(Startup, CleanStopAnswersWhatIsInFlight) {
  startDaemon();
  // Inline and short enough to be sent in one go, so that the requests arrive in the order of the
  // calls; many enough leaves that hashing them takes a while.
  auto ledger = connect(client::TransportChoice::INLINE);
  Registers registers(300, 50);
  const RootHash empty = answer(ledger->initialState());
  auto inFlight = ledger->set(empty, registers.keys, registers.values);
  // The server has the request once it has answered one that was sent after it.
  answer(ledger->hasState(empty));
  KJ_SYSCALL(kill(daemon->pid(), SIGTERM));
  const RootHash state = answer(kj::mv(inFlight));
  EXPECT_TRUE(daemon->wait().cleanly()) << daemon->log().cStr();

  startDaemon();
  EXPECT_TRUE(answer(connect()->hasState(state)));
}

// Would catch a damaged file that is passed over, cut or repaired: the operator must hear which
// one and where, and have it as it was.
TEST_F(Startup, DamagedLogIsNamed) {
  startDaemon();
  RootHash state;
  {
    auto ledger = connect();
    state = answer(ledger->initialState());
    for (uint64_t i = 0; i < 3; ++i) {
      Registers one(2, 100, i);
      state = answer(ledger->set(state, one.keys, one.values));
    }
  }
  daemon->stop();
  // In the second record, so that a sound one follows: this is no torn tail. Both are short, so
  // each is one fragment: a type, two bytes of length, four of checksum, and the record.
  const auto segment = segmentsOf(scratch / "triedir").front();
  const auto path = scratch / "triedir" + "/" + segment;
  auto bytes = readFile(path);
  const size_t second = 7 + (size_t(bytes[1]) << 8 | bytes[2]);
  bytes[second + 40] ^= 0xff;
  std::ofstream(path, std::ios::binary).write(bytes.asChars().begin(), bytes.size());

  const auto reason = kj::str(scratch.path().c_str(), "/triedir: the log is damaged: file ",
                              segment.c_str(), " at offset ", second, ": ");
  expectRefusal(options(), reason.cStr());
  EXPECT_TRUE(readFile(path) == bytes) << "a start that was refused changed the log";
}

}  // namespace
}  // namespace ledger::testing
