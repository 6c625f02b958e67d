// SPDX-License-Identifier: Apache-2.0
#include "server/listen-socket.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace ledger::server {
namespace {

// A directory of the test's own. Its name is short, as a socket's must be.
struct ListenSocketTest : public testing::Test {
  ListenSocketTest() {
    char name[] = "/tmp/listen-XXXXXX";
    KJ_REQUIRE(mkdtemp(name) != nullptr);
    directory = kj::str(name);
    path = kj::str(directory, "/s");
  }
  ~ListenSocketTest() noexcept override {
    unlink(path.cStr());
    rmdir(directory.cStr());
  }

  // 0, or the error.
  int connectTo() const {
    kj::AutoCloseFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path.cStr());
    const auto* generic = reinterpret_cast<const sockaddr*>(&address);
    return connect(fd, generic, sizeof(address)) == 0 ? 0 : errno;
  }
  mode_t mode() const {
    struct stat stats;
    KJ_SYSCALL(lstat(path.cStr(), &stats));
    return stats.st_mode & 07777;
  }
  bool exists() const { return access(path.cStr(), F_OK) == 0; }

  // What the constructor says.
  kj::String refusal() const {
    KJ_IF_MAYBE (exception,
                 kj::runCatchingExceptions([this]() { ListenSocket socket(path, 0660); })) {
      return kj::str(exception->getDescription());
    }
    return kj::str("accepted");
  }

  kj::String directory, path;
};

TEST_F(ListenSocketTest, ServesAndRemovesItsFile) {
  {
    ListenSocket socket(path, 0660);
    EXPECT_EQ(connectTo(), 0);
    auto copy = socket.open();
    EXPECT_NE(fcntl(copy, F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(fcntl(copy, F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_FALSE(exists());
}

// The umask must neither widen the permissions nor take from them.
TEST_F(ListenSocketTest, HasExactlyItsPermissions) {
  for (mode_t mask : {0000, 0022, 0077, 0777}) {
    for (mode_t wanted : {0600, 0660, 0777}) {
      const mode_t before = umask(mask);
      {
        ListenSocket socket(path, wanted);
        EXPECT_EQ(mode(), wanted) << mask;
      }
      umask(before);
    }
  }
}

TEST_F(ListenSocketTest, BelongsToWhomItIsGiven) {
  ListenSocket socket(path, 0660, {.user = geteuid(), .group = getegid()});
  struct stat stats;
  KJ_SYSCALL(lstat(path.cStr(), &stats));
  EXPECT_EQ(stats.st_uid, geteuid());
  EXPECT_EQ(stats.st_gid, getegid());
  EXPECT_EQ(mode(), 0660u);
}

// What cannot be given away is not served as another's either.
TEST_F(ListenSocketTest, AnOwnerThatCannotBeIsAnError) {
  if (geteuid() == 0) GTEST_SKIP() << "skipped, because root may give files to everybody";
  EXPECT_ANY_THROW(ListenSocket(path, 0660, {.user = geteuid() + 1, .group = nullptr}));
  EXPECT_FALSE(exists());
}

// A killed server leaves its file; the next start must not need an operator.
TEST_F(ListenSocketTest, ReplacesASocketThatNobodyServes) {
  {
    kj::AutoCloseFd fd(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path.cStr());
    KJ_SYSCALL(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)));
    KJ_SYSCALL(listen(fd, 1));
  }
  ASSERT_TRUE(exists());
  ASSERT_EQ(connectTo(), ECONNREFUSED);
  ListenSocket socket(path, 0660);
  EXPECT_EQ(connectTo(), 0);
}

TEST_F(ListenSocketTest, RefusesASocketThatIsServed) {
  ListenSocket socket(path, 0660);
  EXPECT_NE(strstr(refusal().cStr(), "another process serves"), nullptr);
  EXPECT_EQ(connectTo(), 0) << "the one that was there must go on";
}

// flow-go's service deletes whatever has the name.
TEST_F(ListenSocketTest, RefusesAndKeepsWhatIsNotASocket) {
  kj::AutoCloseFd file(open(path.cStr(), O_CREAT | O_WRONLY, 0600));
  EXPECT_NE(strstr(refusal().cStr(), "not a socket"), nullptr);
  EXPECT_TRUE(exists());
  unlink(path.cStr());

  KJ_SYSCALL(symlink("nowhere", path.cStr()));
  EXPECT_NE(strstr(refusal().cStr(), "not a socket"), nullptr);
  unlink(path.cStr());

  KJ_SYSCALL(mkdir(path.cStr(), 0700));
  EXPECT_NE(strstr(refusal().cStr(), "not a socket"), nullptr);
  rmdir(path.cStr());
}

TEST_F(ListenSocketTest, LeavesAFileThatTookItsName) {
  {
    ListenSocket socket(path, 0660);
    unlink(path.cStr());
    kj::AutoCloseFd file(open(path.cStr(), O_CREAT | O_WRONLY, 0600));
  }
  EXPECT_TRUE(exists());
}

TEST_F(ListenSocketTest, NamesThePathInItsErrors) {
  path = kj::str(directory, "/missing/s");
  EXPECT_NE(strstr(refusal().cStr(), "/missing/s"), nullptr);
}

}  // namespace
}  // namespace ledger::server
