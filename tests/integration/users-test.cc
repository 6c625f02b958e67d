// SPDX-License-Identifier: Apache-2.0
// Client and server as different users: who may write, who may read, and who may not even that.

#include "client/state-view.h"
#include "tests/integration/daemon-fixture.h"

#include <sys/stat.h>
#include <unistd.h>

namespace ledger::testing {
namespace {

constexpr uid_t WRITER = 54301, READER = 54302, STRANGER = 54303;

class Users : public DaemonTest {
protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "skipped, because only root can be other users";
    KJ_SYSCALL(chmod(scratch.path().c_str(), 0755));
    startDaemon({"--socket-mode=0666", "--writer-uid=" + std::to_string(WRITER),
                 "--reader-uid=" + std::to_string(READER),
                 "--reader-socket=" + (scratch / "readers")});
  }

  // The server learns who a client was when it connected.
  kj::Own<client::LedgerClient> connectAs(uid_t user, const std::string& name = "socket") {
    KJ_SYSCALL(seteuid(user));
    KJ_DEFER(KJ_SYSCALL(seteuid(0)));
    const std::string socket = scratch / name;
    client::ConnectOptions how;
    how.address = socket.c_str();
    how.connection.transport = client::TransportChoice::SHM;
    how.connection.storeViews = true;
    how.connectTimeout = 0 * kj::SECONDS;  // One attempt.
    return client::connect(io.provider->getNetwork(), io.provider->getTimer(), how)
        .wait(io.waitScope);
  }
};

TEST_F(Users, WritersWriteAndReadersRead) {
  auto writer = connectAs(WRITER), reader = connectAs(READER);
  Registers registers(8, 256 << 10);
  const RootHash empty = answer(writer->initialState());
  const RootHash state = answer(writer->set(empty, registers.keys, registers.values));

  auto values = answer(reader->get(state, registers.keys));
  EXPECT_EQ(values.place(), client::Place::SHARED_MEMORY);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(values[i] == registers.values[i]) << "value " << i;
  }
  auto refused = reader->set(empty, registers.keys, registers.values).wait(io.waitScope);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::PERMISSION_DENIED);
  EXPECT_EQ(refused.get<Error>().reason, Reason::READ_ONLY_SESSION);
  EXPECT_EQ(answer(writer->stateCount()), 2u);
}

// Whoever it is: a writer, too, and the server's own user.
TEST_F(Users, NobodyWritesOnTheReaderSocket) {
  auto writer = connectAs(WRITER);
  Registers registers(8, 256 << 10);
  const RootHash empty = answer(writer->initialState());
  const RootHash state = answer(writer->set(empty, registers.keys, registers.values));
  for (uid_t user : {WRITER, READER, uid_t(0)}) {
    SCOPED_TRACE(user);
    auto reader = connectAs(user, "readers");
    auto refused = reader->set(empty, registers.keys, registers.values).wait(io.waitScope);
    ASSERT_TRUE(refused.is<Error>());
    EXPECT_EQ(refused.get<Error>().code, Code::PERMISSION_DENIED);
    EXPECT_EQ(refused.get<Error>().reason, Reason::READ_ONLY_SESSION);
    auto checkpoint = reader->checkpoint().wait(io.waitScope);
    ASSERT_TRUE(checkpoint.is<Error>());
    EXPECT_EQ(checkpoint.get<Error>().code, Code::PERMISSION_DENIED);

    auto values = answer(reader->get(state, registers.keys));
    EXPECT_EQ(values.place(), client::Place::SHARED_MEMORY);
    EXPECT_TRUE(values[7] == registers.values[7]);
  }
  EXPECT_EQ(answer(writer->stateCount()), 2u);
  EXPECT_ANY_THROW(connectAs(STRANGER, "readers"));
}

TEST_F(Users, WritersAndTheServersUserSeeTheSessions) {
  auto reader = connectAs(READER), writer = connectAs(WRITER);
  auto own = connectAs(0, "readers");
  auto sessions = answer(writer->sessions());
  ASSERT_EQ(sessions.size(), 3u);
  const uid_t users[] = {READER, WRITER, 0};
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(KJ_ASSERT_NONNULL(sessions[i].user), users[i]);
    EXPECT_EQ(KJ_ASSERT_NONNULL(sessions[i].process), uint32_t(getpid()));
    EXPECT_EQ(sessions[i].mayWrite, users[i] == WRITER);
    EXPECT_EQ(sessions[i].isThis, users[i] == WRITER);
  }
  EXPECT_EQ(answer(own->sessions()).size(), 3u);
  auto refused = reader->sessions().wait(io.waitScope);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::PERMISSION_DENIED);
}

TEST_F(Users, OnlyWritersAreHandedTheStore) {
  auto writer = connectAs(WRITER), reader = connectAs(READER);
  Registers registers(1, 1 << 20);
  const RootHash state =
      answer(writer->set(answer(writer->initialState()), registers.keys, registers.values));
  EXPECT_EQ(answer(writer->openView(state))->state(), state);
  auto refused = reader->openView(state).wait(io.waitScope);
  ASSERT_TRUE(refused.is<Error>());
  EXPECT_EQ(refused.get<Error>().code, Code::UNIMPLEMENTED);

  auto inStore = answer(writer->get(state, registers.keys));
  auto copied = answer(reader->get(state, registers.keys));
  EXPECT_TRUE(inStore[0] == registers.values[0]);
  EXPECT_TRUE(copied[0] == registers.values[0]);
  EXPECT_LT(answer(writer->info()).arenas.lentBytes, uint64_t(64) << 10);
  EXPECT_GE(answer(reader->info()).arenas.lentBytes, uint64_t(1) << 20);
}

TEST_F(Users, AStrangerIsToldWhy) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { connectAs(STRANGER); })) {
    const std::string text = exception->getDescription().cStr();
    EXPECT_NE(text.find("user 54303 may not use this ledger"), std::string::npos) << text;
  } else {
    FAIL() << "a stranger was welcome";
  }
}

// The file's owner is what lets in: everybody else is turned away by the kernel.
TEST_F(Users, ASocketIsItsOwners) {
  daemon = nullptr;
  startDaemon({"--socket-mode=0600", "--socket-owner=" + std::to_string(WRITER),
               "--reader-socket=" + (scratch / "readers"), "--reader-socket-mode=0660",
               "--reader-socket-owner=:" + std::to_string(READER)});
  for (auto name : {"socket", "socket.handover"}) {
    struct stat file;
    KJ_SYSCALL(stat((scratch / name).c_str(), &file));
    EXPECT_EQ(file.st_uid, WRITER) << name;
    EXPECT_EQ(file.st_gid, 0u) << name;
    EXPECT_EQ(file.st_mode & 0777, 0600u) << name;
  }
  struct stat readers;
  KJ_SYSCALL(stat((scratch / "readers.handover").c_str(), &readers));
  EXPECT_EQ(readers.st_uid, 0u);
  EXPECT_EQ(readers.st_gid, READER);
  EXPECT_EQ(readers.st_mode & 0777, 0660u);

  EXPECT_EQ(answer(connectAs(WRITER)->stateCount()), 1u);
  EXPECT_ANY_THROW(connectAs(READER));
  EXPECT_ANY_THROW(connectAs(STRANGER, "readers"));
}

}  // namespace
}  // namespace ledger::testing
