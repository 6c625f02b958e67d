// SPDX-License-Identifier: Apache-2.0
// The process: how it starts, what it says when it cannot, and how it ends.

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/io.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ledger::server {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    KJ_SYSCALL(pipe2(fds, O_CLOEXEC));
    out = kj::AutoCloseFd(fds[0]);
    in = kj::AutoCloseFd(fds[1]);
  }
  kj::AutoCloseFd out, in;
};

// Reads to the end.
std::string readAll(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    ssize_t length;
    KJ_SYSCALL(length = read(fd, buffer, sizeof(buffer)));
    if (length == 0) return text;
    text.append(buffer, length);
  }
}

// One run of ledgerd.
class Process {
public:
  explicit Process(std::vector<std::string> arguments) {
    std::vector<char*> argv;
    arguments.insert(arguments.begin(), "server/ledgerd");
    arguments.push_back("--ready-fd=3");
    arguments.push_back("--memory-limit=1GiB");
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);

    pid = fork();
    KJ_ASSERT(pid >= 0);
    if (pid == 0) {
      dup2(output.in, 2);
      // Not close-on-exec, and closed by ledgerd once it has said that it is ready.
      dup2(ready.in, 3);
      execv(argv[0], argv.data());
      _exit(127);
    }
    ready.in = nullptr;
    output.in = nullptr;
  }
  ~Process() noexcept(false) {
    if (pid > 0) {
      kill(pid, SIGKILL);
      wait();
    }
  }

  // Waits until it serves. False: it ended before.
  bool becomesReady() { return readAll(ready.out) == "ready\n"; }

  // Waits until it ends. Its exit status, or minus the signal that ended it.
  int wait() {
    int status;
    KJ_SYSCALL(waitpid(pid, &status, 0));
    pid = -1;
    log = readAll(output.out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  void signal(int number) const { KJ_SYSCALL(kill(pid, number)); }

  std::string log;  // Standard error, after wait().

private:
  pid_t pid;
  Pipe ready, output;
};

// A ledger's directory of the test's own; short, for the socket's sake.
struct LedgerdTest : public testing::Test {
  LedgerdTest() {
    char name[] = "/tmp/ledgerd-XXXXXX";
    KJ_REQUIRE(mkdtemp(name) != nullptr);
    directory = name;
    triedir = "--triedir=" + directory + "/trie";
    socketPath = directory + "/trie/ledgerd.sock";
  }
  ~LedgerdTest() noexcept override { std::filesystem::remove_all(directory); }

  bool canConnect() const {
    kj::AutoCloseFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, socketPath.c_str());
    return connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  }

  std::string directory, triedir, socketPath;
};

TEST_F(LedgerdTest, ServesUntilItIsTerminated) {
  for (int signal : {SIGTERM, SIGINT}) {
    Process process({triedir});
    ASSERT_TRUE(process.becomesReady());
    const std::string sockets[] = {socketPath, socketPath + ".handover"};
    for (auto& path : sockets) {
      struct stat stats;
      ASSERT_EQ(lstat(path.c_str(), &stats), 0) << path;
      EXPECT_EQ(stats.st_mode & 07777, 0660u);
    }
    EXPECT_TRUE(canConnect());
    process.signal(signal);
    EXPECT_EQ(process.wait(), 0);
    for (auto& path : sockets) EXPECT_FALSE(std::filesystem::exists(path)) << path;
    EXPECT_NE(process.log.find("\"message\":\"ledger service stopped\""), std::string::npos)
        << process.log;
  }
}

// A client that is connected and silent must not hold up the end.
TEST_F(LedgerdTest, EndsWhileAClientIsConnected) {
  Process process({triedir, "--io-threads=3"});
  ASSERT_TRUE(process.becomesReady());
  kj::AutoCloseFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, socketPath.c_str());
  ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  process.signal(SIGTERM);
  EXPECT_EQ(process.wait(), 0);
}

TEST_F(LedgerdTest, WithoutATriedirItSaysSo) {
  Process process({});
  EXPECT_EQ(process.wait(), 1);
  EXPECT_EQ(process.log, "error: --triedir is required\n");
}

TEST_F(LedgerdTest, ASecondOneIsRefusedAndTheFirstGoesOn) {
  Process first({triedir});
  ASSERT_TRUE(first.becomesReady());
  Process sameSocket({triedir});
  EXPECT_EQ(sameSocket.wait(), 1);
  EXPECT_NE(sameSocket.log.find("another process serves this socket"), std::string::npos)
      << sameSocket.log;
  Process sameDirectory({triedir, "--socket=" + directory + "/other.sock"});
  EXPECT_EQ(sameDirectory.wait(), 1);
  EXPECT_NE(sameDirectory.log.find("lock"), std::string::npos) << sameDirectory.log;
  EXPECT_FALSE(std::filesystem::exists(directory + "/other.sock"));
  EXPECT_TRUE(canConnect());
}

TEST_F(LedgerdTest, StartsAgainAfterItWasKilled) {
  {
    Process killed({triedir});
    ASSERT_TRUE(killed.becomesReady());
    killed.signal(SIGKILL);
    EXPECT_EQ(killed.wait(), -SIGKILL);
  }
  EXPECT_TRUE(std::filesystem::exists(socketPath));
  Process process({triedir});
  EXPECT_TRUE(process.becomesReady());
  EXPECT_TRUE(canConnect());
}

// flow-go's service deletes it.
TEST_F(LedgerdTest, AFileAtTheSocketsPathIsKept) {
  const std::string path = directory + "/precious";
  std::ofstream(path) << "data";
  Process process({triedir, "--socket=" + path});
  EXPECT_EQ(process.wait(), 1);
  EXPECT_NE(process.log.find("is not a socket"), std::string::npos) << process.log;
  EXPECT_NE(process.log.find(path), std::string::npos) << process.log;
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
}

// What is wrong with which file, for who is called at night.
TEST_F(LedgerdTest, ADamagedLedgerIsNamed) {
  std::filesystem::create_directory(directory + "/trie");
  const std::string checkpoint = directory + "/trie/root.checkpoint";
  std::ofstream(checkpoint) << "not a checkpoint at all, but some text";
  {
    Process process({triedir});
    EXPECT_EQ(process.wait(), 1);
    EXPECT_NE(process.log.find(checkpoint), std::string::npos) << process.log;
    EXPECT_NE(process.log.find("not a checkpoint's header"), std::string::npos) << process.log;
  }
  std::filesystem::remove(checkpoint);

  // A damaged segment that others follow: not the torn end of a crash.
  const std::string text(100000, 'x');
  std::ofstream(directory + "/trie/00000000") << text;
  std::ofstream(directory + "/trie/00000001") << text;
  std::filesystem::resize_file(directory + "/trie/00000001", 30 << 20);
  Process process({triedir});
  EXPECT_EQ(process.wait(), 1);
  const auto named = directory + "/trie: the log is damaged: file 00000000 at offset 0";
  EXPECT_NE(process.log.find(named), std::string::npos) << process.log;
  EXPECT_NE(process.log.find("\"level\":\"fatal\""), std::string::npos) << process.log;
}

TEST_F(LedgerdTest, AFileInPlaceOfTheDirectoryIsRefused) {
  std::ofstream(directory + "/trie") << "x";
  Process process({triedir, "--socket=" + directory + "/s"});
  EXPECT_EQ(process.wait(), 1);
  EXPECT_NE(process.log.find("cannot open the ledger's directory"), std::string::npos)
      << process.log;
}

}  // namespace
}  // namespace ledger::server
