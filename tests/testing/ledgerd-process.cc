// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/ledgerd-process.h"

#include <kj/debug.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ledger::testing {

namespace {

constexpr int START_LIMIT_MS = 60'000;
constexpr int READY_FD = 3;  // In the child.

struct Child {
  pid_t pid;
  kj::AutoCloseFd ready;    // Read end: a byte when it serves, the end when it cannot.
  kj::AutoCloseFd logFile;  // Its stderr.
};

kj::String contentsOf(int fd) {
  off_t size;
  KJ_SYSCALL(size = lseek(fd, 0, SEEK_END));
  auto text = kj::heapString(size);
  ssize_t n;
  KJ_SYSCALL(n = pread(fd, text.begin(), text.size(), 0));
  return kj::heapString(text.begin(), n);
}

Child start(const LedgerdOptions& options) {
  std::vector<std::string> words = options.wrapper;
  words.insert(words.end(), {options.binary, "--triedir", options.triedir, "--socket",
                             options.socket, "--ready-fd", std::to_string(READY_FD)});
  words.insert(words.end(), options.flags.begin(), options.flags.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int ends[2];
  KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
  kj::AutoCloseFd readEnd(ends[0]), writeEnd(ends[1]);
  int logFd;
  KJ_SYSCALL(logFd = memfd_create("ledgerd's stderr", MFD_CLOEXEC));
  kj::AutoCloseFd logFile(logFd);
  const pid_t parent = getpid();

  pid_t pid;
  KJ_SYSCALL(pid = fork());
  if (pid == 0) {
    // Only async-signal-safe calls up to exec: other threads of the parent may hold locks.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(125);
    if (options.inChild != nullptr) options.inChild(options.inChildArgument.c_str());
    const int nothing = open("/dev/null", O_RDWR);
    const int log = fcntl(logFile, F_DUPFD, 10), ready = fcntl(writeEnd, F_DUPFD, 10);
    if (dup2(nothing, 0) < 0 || dup2(nothing, 1) < 0 || dup2(log, 2) < 0 ||
        dup2(ready, READY_FD) < 0) {
      _exit(125);
    }
    close(ready);  // The pipe must end when the process does.
    close(log);
    execvp(argv[0], argv.data());
    dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
  }
  return {pid, kj::mv(readEnd), kj::mv(logFile)};
}

Ended reap(pid_t pid) {
  int status;
  KJ_SYSCALL(waitpid(pid, &status, 0));
  if (WIFSIGNALED(status)) return {true, WTERMSIG(status)};
  return {false, WEXITSTATUS(status)};
}

}  // namespace

kj::String Ended::describe() const {
  if (bySignal) return kj::str("killed by signal ", number);
  return kj::str("exit code ", number);
}

LedgerdProcess::LedgerdProcess(LedgerdOptions options) {
  auto started = start(options);
  child = started.pid;
  logFile = kj::mv(started.logFile);
  awaitReady(kj::mv(started.ready));
}

LedgerdProcess::~LedgerdProcess() noexcept {
  if (child > 0 && ended == nullptr) kill();
}

void LedgerdProcess::awaitReady(kj::AutoCloseFd readyPipe) {
  // The destructor does not run if this throws.
  KJ_ON_SCOPE_FAILURE(if (ended == nullptr) kill());
  pollfd watched = {readyPipe, POLLIN, 0};
  int events;
  KJ_SYSCALL(events = poll(&watched, 1, START_LIMIT_MS));
  KJ_REQUIRE(events > 0, "ledgerd is not ready after a minute", log());
  char byte;
  ssize_t n;
  KJ_SYSCALL(n = read(readyPipe, &byte, 1));
  if (n == 0) {
    auto end = wait();
    KJ_FAIL_REQUIRE("ledgerd ended before it was ready", end.describe(), log());
  }
}

bool LedgerdProcess::running() {
  if (ended != nullptr) return false;
  int status;
  pid_t pid;
  KJ_SYSCALL(pid = waitpid(child, &status, WNOHANG));
  if (pid == 0) return true;
  ended = WIFSIGNALED(status) ? Ended{true, WTERMSIG(status)} : Ended{false, WEXITSTATUS(status)};
  return false;
}

Ended LedgerdProcess::wait() {
  KJ_IF_MAYBE (already, ended) {
    return *already;
  }
  auto end = reap(child);
  ended = end;
  return end;
}

Ended LedgerdProcess::stop() {
  if (ended == nullptr) {
    KJ_SYSCALL(::kill(child, SIGTERM));
  }
  return wait();
}

Ended LedgerdProcess::kill() {
  if (ended == nullptr) {
    KJ_SYSCALL(::kill(child, SIGKILL));
  }
  return wait();
}

kj::String LedgerdProcess::log() const {
  return contentsOf(logFile);
}

RunToEnd runLedgerd(LedgerdOptions options) {
  auto started = start(options);
  auto ended = reap(started.pid);
  return {ended, contentsOf(started.logFile)};
}

std::string ledgerdBinary() {
  const char* named = getenv("LEDGERD_BINARY");
  return named != nullptr ? named : "server/ledgerd";  // Bazel runs tests in their runfiles.
}

}  // namespace ledger::testing
