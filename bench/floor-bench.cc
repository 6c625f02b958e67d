// SPDX-License-Identifier: Apache-2.0
// What this machine can do at best: the floors that the other figures are held against.
//
//   SocketPing           one byte to another process and back, over a Unix stream socket
//   CapnpPing/n          an empty call to another process and back, n of them in flight: Cap'n Proto
//                        RPC with its own stream, an event loop at either end
//   BufferedPing/n       the same with our stream (schema/message-stream.h)
//   Copy/n               n bytes copied from memory to memory
//   Sum/n                n bytes read, eight at a time
//   ScatteredRead/n      one read of 8 bytes at a random place of n bytes, each place told by the
//                        read before: what a step of a descent costs
//   Sync                 4 KiB appended to a file of /tmp, and fdatasync

#include "bench/micro.h"
#include "bench/ping.capnp.h"
#include "schema/message-stream.h"
#include "tests/testing/scratch-folder.h"

#include <capnp/rpc-twoparty.h>
#include <kj/async-unix.h>
#include <kj/debug.h>
#include <kj/io.h>

#include <deque>
#include <numeric>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace ledger::bench {
namespace {

// A child process at the other end of a socket, until the destructor.
class Peer {
public:
  template <typename Serve>
  explicit Peer(Serve&& serve) {
    int ends[2];
    KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    kj::AutoCloseFd theirs(ends[1]);
    socket = kj::AutoCloseFd(ends[0]);
    KJ_SYSCALL(pid = fork());
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      socket = nullptr;
      serve(kj::mv(theirs));
      _exit(0);
    }
  }
  ~Peer() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }

  kj::AutoCloseFd socket;

private:
  pid_t pid;
};

void socketPing(benchmark::State& state) {
  Peer peer([](kj::AutoCloseFd socket) {
    for (char byte; read(socket, &byte, 1) == 1;) {
      if (write(socket, &byte, 1) != 1) break;
    }
  });
  char byte = 0;
  for (auto _ : state) {
    KJ_REQUIRE(write(peer.socket, &byte, 1) == 1 && read(peer.socket, &byte, 1) == 1);
  }
}
BENCHMARK(socketPing)->Name("SocketPing")->UseRealTime();

class PingServer final : public Ping::Server {
protected:
  kj::Promise<void> ping(PingContext) override { return kj::READY_NOW; }
};

template <typename Stream>
void rpcPing(benchmark::State& state, size_t inFlight) {
  Peer peer([](kj::AutoCloseFd socket) {
    auto io = kj::setupAsyncIo();
    auto socketStream = io.lowLevelProvider->wrapUnixSocketFd(kj::mv(socket));
    Stream stream(*socketStream);
    capnp::TwoPartyVatNetwork network(stream, 1, capnp::rpc::twoparty::Side::SERVER);
    auto system = capnp::makeRpcServer(network, kj::heap<PingServer>());
    network.onDisconnect().wait(io.waitScope);
  });
  auto io = kj::setupAsyncIo();
  auto socketStream = io.lowLevelProvider->wrapUnixSocketFd(kj::mv(peer.socket));
  Stream stream(*socketStream);
  capnp::TwoPartyVatNetwork network(stream, 1, capnp::rpc::twoparty::Side::CLIENT);
  auto system = capnp::makeRpcClient(network);
  capnp::MallocMessageBuilder message;
  auto server = message.initRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  auto ping = system.bootstrap(server).castAs<Ping>();

  std::deque<kj::Promise<void>> calls;
  for (auto _ : state) {
    calls.push_back(ping.pingRequest().send().ignoreResult());
    if (calls.size() < inFlight) continue;
    calls.front().wait(io.waitScope);
    calls.pop_front();
  }
}
void capnpPing(benchmark::State& state) {
  rpcPing<capnp::AsyncCapabilityMessageStream>(state, state.range(0));
}
BENCHMARK(capnpPing)->Name("CapnpPing")->Arg(1)->Arg(256)->UseRealTime();

void bufferedPing(benchmark::State& state) {
  rpcPing<rpc::BufferedMessageStream>(state, state.range(0));
}
BENCHMARK(bufferedPing)->Name("BufferedPing")->Arg(1)->Arg(256)->UseRealTime();

void copy(benchmark::State& state) {
  const std::vector<char> from(state.range(0), 1);
  std::vector<char> to(from.size());
  for (auto _ : state) {
    memcpy(to.data(), from.data(), from.size());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * from.size());
}
BENCHMARK(copy)->Name("Copy")->Arg(1 << 20)->Arg(16 << 20)->Arg(128 << 20);

void sum(benchmark::State& state) {
  const std::vector<uint64_t> words(state.range(0) / sizeof(uint64_t), 1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(std::accumulate(words.begin(), words.end(), uint64_t(0)));
  }
  state.SetBytesProcessed(state.iterations() * words.size() * sizeof(uint64_t));
}
BENCHMARK(sum)->Name("Sum")->Arg(1 << 20)->Arg(16 << 20)->Arg(128 << 20);

// One cycle through all cache lines, in random order (Sattolo's shuffle).
void scatteredRead(benchmark::State& state) {
  struct alignas(64) Line {
    uint64_t next;
  };
  std::vector<Line> lines(state.range(0) / sizeof(Line));
  for (size_t i = 0; i < lines.size(); ++i) lines[i].next = i;
  auto random = stream(MICRO_SEED, 0, 0);
  for (size_t i = lines.size() - 1; i > 0; --i) std::swap(lines[i], lines[random.next() % i]);
  uint64_t at = 0;
  for (auto _ : state) {
    at = lines[at].next;
    benchmark::DoNotOptimize(at);
  }
}
BENCHMARK(scatteredRead)->Name("ScatteredRead")->Arg(16 << 10)->Arg(256 << 20)->Arg(1 << 30);

void sync(benchmark::State& state) {
  testing::ScratchFolder folder;
  int fd;
  KJ_SYSCALL(fd = open((folder / "file").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  kj::AutoCloseFd file(fd);
  const std::vector<char> page(4096);
  for (auto _ : state) {
    KJ_REQUIRE(write(file, page.data(), page.size()) == ssize_t(page.size()));
    KJ_SYSCALL(fdatasync(file));
  }
}
BENCHMARK(sync)->Name("Sync")->UseRealTime()->Iterations(500);

}  // namespace
}  // namespace ledger::bench

int main(int argc, char** argv) {
  return ledger::bench::runMicroBenchmarks(argc, argv);
}
