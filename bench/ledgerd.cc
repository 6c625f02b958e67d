// SPDX-License-Identifier: Apache-2.0
#include "bench/ledgerd.h"

#include <kj/debug.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ledger::bench {

namespace fs = std::filesystem;

namespace {

constexpr int READY_FD = 3;  // In the child.

uint64_t anonymousMemory(pid_t pid) {
  const auto path = "/proc/" + std::to_string(pid) + "/status";
  std::ifstream status(path);
  for (std::string word; status >> word;) {
    uint64_t kib;
    if (word == "RssAnon:" && status >> kib) return kib << 10;
  }
  KJ_FAIL_REQUIRE("no RssAnon", path.c_str());
}

uint64_t memfdBlocks(pid_t pid) {
  uint64_t bytes = 0;
  std::set<ino_t> seen;  // Several descriptors may be of one memfd.
  for (auto& entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd")) {
    std::error_code closedMeanwhile;
    const auto target = fs::read_symlink(entry.path(), closedMeanwhile).string();
    struct stat info;
    if (!target.starts_with("/memfd:") || stat(entry.path().c_str(), &info) != 0) continue;
    if (seen.insert(info.st_ino).second) bytes += uint64_t(info.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace

Ledgerd::Ledgerd(const Options& options)
    : socketPath(options.folder + "/ledgerd.sock"), logPath(options.folder + "/log") {
  std::vector<std::string> words = {
      options.binary,
      "--triedir",
      options.folder + "/trie",
      "--socket",
      socketPath,
      "--mtrie-cache-size",
      std::to_string(options.forestCapacity),
      "--loglevel",
      "warn",
      "--ready-fd",
      std::to_string(READY_FD),
  };
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd readEnd(ends[0]), writeEnd(ends[1]);
  int logFd;
  KJ_SYSCALL(logFd = open(logPath.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600),
             logPath.c_str());
  kj::AutoCloseFd log(logFd);
  const pid_t parent = getpid();

  KJ_SYSCALL(pid = fork());
  if (pid == 0) {
    // Only async-signal-safe calls up to exec: other threads of the parent may hold locks.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(125);
    const int ready = fcntl(writeEnd, F_DUPFD, 10), error = fcntl(log, F_DUPFD, 10);
    if (dup2(error, STDOUT_FILENO) < 0 || dup2(error, STDERR_FILENO) < 0 ||
        dup2(ready, READY_FD) < 0) {
      _exit(125);
    }
    close(ready);  // The pipe must end when the process does.
    close(error);
    execv(argv[0], argv.data());
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
  }
  writeEnd = nullptr;

  char byte;
  ssize_t n;
  KJ_SYSCALL(n = read(readEnd, &byte, 1));
  if (n == 0) failWithLog("ledgerd ended before it served"_kj);
}

Ledgerd::~Ledgerd() noexcept {
  if (pid < 0) return;
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

void Ledgerd::stop() {
  KJ_SYSCALL(kill(pid, SIGTERM));
  int status;
  KJ_SYSCALL(waitpid(pid, &status, 0));
  pid = -1;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    failWithLog(kj::str("ledgerd did not end cleanly, status ", status));
  }
}

uint64_t Ledgerd::memory() const {
  return anonymousMemory(pid) + memfdBlocks(pid);
}

void Ledgerd::failWithLog(kj::StringPtr what) {
  if (pid >= 0) waitpid(pid, nullptr, 0);  // It has closed its end of the pipe: it is ending.
  pid = -1;
  std::ostringstream text;
  text << std::ifstream(logPath).rdbuf();
  KJ_FAIL_REQUIRE(what, text.str().c_str());
}

}  // namespace ledger::bench
