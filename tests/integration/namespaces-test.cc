// SPDX-License-Identifier: Apache-2.0
// Client and server share a directory for the socket and nothing else: shared memory needs no
// common mount, IPC or network namespace.

#include "tests/integration/daemon-fixture.h"

#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace ledger::testing {
namespace {

// Namespaces of its own, as root or, where that is allowed, in a user namespace.
const std::vector<std::vector<std::string>> WRAPPERS = {
    {"unshare", "--mount", "--ipc", "--net"},
    {"unshare", "--user", "--map-root-user", "--mount", "--ipc", "--net"},
};

bool works(std::vector<std::string> wrapper) {
  wrapper.push_back("true");
  std::vector<char*> argv;
  for (auto& word : wrapper) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t child;
  if (posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return false;
  int status;
  return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

ino_t namespaceOf(const std::string& process, const char* kind) {
  struct stat file;
  KJ_SYSCALL(stat(("/proc/" + process + "/ns/" + kind).c_str(), &file));
  return file.st_ino;
}

class Namespaces : public DaemonTest {};

// Would catch a dependence on a name in /dev/shm, on System V IPC or on a socket in the network
// namespace.
TEST_F(Namespaces, SharedMemoryCrossesThem) {
  auto how = options();
  for (auto& wrapper : WRAPPERS) {
    if (works(wrapper)) {
      how.wrapper = wrapper;
      break;
    }
  }
  if (how.wrapper.empty()) {
    GTEST_SKIP() << "skipped, because this machine lets nobody here make namespaces";
  }
  startWith(kj::mv(how));
  const auto server = std::to_string(daemon->pid());
  for (auto kind : {"mnt", "ipc", "net"}) {
    ASSERT_NE(namespaceOf(server, kind), namespaceOf("self", kind)) << kind;
  }

  auto ledger = connect();
  Registers registers(32, 256 << 10);
  const RootHash state =
      answer(ledger->set(answer(ledger->initialState()), registers.keys, registers.values));
  auto values = answer(ledger->get(state, registers.keys));
  EXPECT_EQ(values.place(), client::Place::SHARED_MEMORY);
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_TRUE(values[i] == registers.values[i]) << "value " << i;
  }
}

}  // namespace
}  // namespace ledger::testing
