// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/directory-lock.h"

#include <gtest/gtest.h>

#include <kj/debug.h>

#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ledger {
namespace {

class TemporaryDirectory {
public:
  TemporaryDirectory() {
    char name[] = "/tmp/ledger-lock-XXXXXX";
    KJ_ASSERT(mkdtemp(name) != nullptr);
    path = name;
    auto filesystem = kj::newDiskFilesystem();
    directory = filesystem->getRoot().openSubdir(kj::Path::parse(path.substr(1).c_str()),
                                                 kj::WriteMode::MODIFY);
  }
  ~TemporaryDirectory() noexcept(false) {
    unlink((path + "/.lock").c_str());
    rmdir(path.c_str());
  }

  std::string path;
  kj::Own<const kj::Directory> directory;
};

// Catches a lock that does not exclude, or words that an operator of flow-go would not know.
TEST(DirectoryLock, ExcludesASecondOneInFlowGosWords) {
  TemporaryDirectory temporary;
  auto& [path, directory] = temporary;
  auto first = DirectoryLock::acquire(*directory, path.c_str());
  ASSERT_TRUE(first.is<DirectoryLock>());
  auto second = DirectoryLock::acquire(*directory, path.c_str());
  ASSERT_TRUE(second.is<Error>());
  EXPECT_EQ(std::string(second.get<Error>().message.cStr()),
            "cannot acquire exclusive lock at " + path +
                "/.lock: another process is already using this directory");
}

// flow-go locks with flock(2): a lock of another kind (fcntl) would not exclude it.
TEST(DirectoryLock, IsAnFlockOnAPrivateFileThatStays) {
  TemporaryDirectory temporary;
  auto& [path, directory] = temporary;
  int other;
  {
    auto held = DirectoryLock::acquire(*directory, path.c_str());
    ASSERT_TRUE(held.is<DirectoryLock>());
    struct stat status;
    ASSERT_EQ(stat((path + "/.lock").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_EQ(status.st_size, 0);
    other = open((path + "/.lock").c_str(), O_RDONLY | O_CLOEXEC);
    ASSERT_GE(other, 0);
    EXPECT_EQ(flock(other, LOCK_EX | LOCK_NB), -1);
    EXPECT_EQ(errno, EWOULDBLOCK);
  }
  EXPECT_EQ(access((path + "/.lock").c_str(), F_OK), 0);
  EXPECT_EQ(flock(other, LOCK_EX | LOCK_NB), 0) << "not given back";
  EXPECT_TRUE(DirectoryLock::acquire(*directory, path.c_str()).is<Error>());
  close(other);
  EXPECT_TRUE(DirectoryLock::acquire(*directory, path.c_str()).is<DirectoryLock>());
}

TEST(DirectoryLock, ADirectoryInMemoryNeedsNone) {
  auto memory = kj::newInMemoryDirectory(kj::nullClock());
  EXPECT_TRUE(DirectoryLock::acquire(*memory, "memory").is<DirectoryLock>());
}

}  // namespace
}  // namespace ledger
