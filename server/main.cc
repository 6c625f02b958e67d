// SPDX-License-Identifier: Apache-2.0
// ledgerd: flags to objects. The only place that wires things together.

#include "ledger/ledger.h"
#include "schema/message-limits.h"
#include "server/acceptor.h"
#include "server/admin.h"
#include "server/descriptor-shares.h"
#include "server/grpc-listeners.h"
#include "server/grpc-service.h"
#include "server/host.h"
#include "server/http-thread.h"
#include "server/io-loop.h"
#include "server/listen-socket.h"
#include "server/log-fields.h"
#include "server/logging.h"
#include "server/metrics.h"
#include "server/options.h"
#include "server/progress-bar.h"
#include "server/service-state.h"
#include "server/signals.h"
#include "server/version.h"
#include "server/workers.h"
#include "shm/descriptor-limit.h"
#include "shm/memory-limit.h"

#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/encoding.h>
#include <kj/filesystem.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ledger::server {
namespace {

// Operations that may wait for a worker. Each holds its request.
constexpr uint32_t WORKER_QUEUE = 4096;

// Calls that may wait for a checkpoint. One thread serves them, which mostly sleeps.
constexpr uint32_t CHECKPOINT_QUEUE = 64;

kj::Own<const kj::Directory> openTriedir(kj::StringPtr path) {
  if (mkdir(path.cStr(), 0755) == 0) {
    spdlog::info("made the directory {}", path.cStr());
  } else if (errno != EEXIST) {
    KJ_FAIL_SYSCALL("mkdir", errno, "cannot make the ledger's directory", path);
  }
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
             "cannot open the ledger's directory", path);
  return kj::newDiskDirectory(kj::AutoCloseFd(fd));
}

// What the ledger tells goes to the log.
class LogReporter final : public Reporter {
public:
  void info(kj::StringPtr text) const override { spdlog::info("{}", text.cStr()); }
  void warn(kj::StringPtr text) const override { spdlog::warn("{}", text.cStr()); }
};

// The ledger, or null if a signal came while it was being loaded.
kj::Maybe<kj::Own<Ledger>> openLedger(const Options& options, const shm::MemoryBudget& memory,
                                      const StorePins& storePins, TerminationSignals& signals,
                                      const Reporter& reporter, const LedgerMeters& meters,
                                      const ServiceState& state) {
  LedgerOptions ledgerOptions{.reporter = reporter, .meters = meters};
  ledgerOptions.forestCapacity = options.forestCapacity;
  ledgerOptions.walSegmentSize = options.walSegmentSize;
  ledgerOptions.threads = options.threads;
  ledgerOptions.walSync = options.walSync;
  ledgerOptions.trust = options.trust;
  ledgerOptions.damage = options.damage;
  ledgerOptions.checkpoints.distance = options.checkpointDistance;
  ledgerOptions.checkpoints.keep = options.checkpointsToKeep;
  ledgerOptions.checkpoints.threads = options.checkpointThreads;
  ledgerOptions.checkpoints.diskReserve = options.diskReserve;
  ledgerOptions.checkpoints.superfluous = options.superfluousSegments;

  ledgerOptions.relieve = [&storePins](const Ledger& ledger) { return storePins.revoke(ledger); };

  ProgressBar bar(isatty(STDERR_FILENO) ? ProgressBar::Form::TERMINAL : ProgressBar::Form::LOG,
                  kj::systemPreciseMonotonicClock());
  ledgerOptions.progress = [&](const Progress& progress) {
    // Nothing has been changed on disk by now: an exception ends the start.
    if (signals.received() != nullptr) KJ_FAIL_REQUIRE("interrupted by a signal");
    state.noteProgress(progress);
    bar.update(progress);
  };

  kj::Maybe<kj::Own<Ledger>> ledger;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 ledger = Ledger::open(openTriedir(options.triedir), options.triedir,
                                       kj::atomicAddRef(memory), kj::mv(ledgerOptions));
               })) {
    if (signals.received() != nullptr) return nullptr;
    kj::throwFatalException(kj::mv(*exception));
  }
  return ledger;
}

ServiceLimits limitsOf(const Options& options, const DescriptorShares& shares) {
  return {.requestBytes = options.maxRequestSize,
          .responseBytes = options.maxResponseSize,
          .inlineThreshold = options.inlineThreshold,
          .arenaBytes = options.arenaSize,
          .messageWords =
              rpc::messageWordsFor(kj::max(options.maxRequestSize, options.maxResponseSize)),
          .replyArenas = shares.replyArenas,
          .registeredArenas = shares.registeredArenas,
          .openArenas = shares.openArenas,
          .sessions = shares.sessions,
          .connections = shares.connections};
}

void tellReady(kj::Maybe<int> readyFd) {
  KJ_IF_MAYBE (number, readyFd) {
    kj::AutoCloseFd fd(*number);
    kj::FdOutputStream(kj::mv(fd)).write("ready\n", 6);
  }
}

// As clients in other directories need it.
kj::String absolutePath(kj::StringPtr path) {
  if (path.startsWith("/")) return kj::str(path);
  return kj::str(kj::newDiskFilesystem()->getCurrentPath().toNativeString(true), "/", path);
}

// A socket for Cap'n Proto, and the one beside it for hand-overs.
class ClientSockets {
public:
  static void refuseIfTaken(const SocketOptions& options) {
    ListenSocket::refuseIfTaken(options.path);
    KJ_IF_MAYBE (path, options.handOverPath) ListenSocket::refuseIfTaken(*path);
  }

  ClientSockets(const SocketOptions& options, Access most)
      : most(most), clients(options.path, options.mode, options.owner) {
    KJ_IF_MAYBE (path, options.handOverPath) {
      handOvers = kj::heap<ListenSocket>(*path, options.mode, options.owner);
      toldPath = absolutePath(*path);
    }
    spdlog::info("serving {} on {}, hand-overs {}{}", most == Access::WRITE ? "clients" : "readers",
                 options.path.cStr(), toldPath == nullptr ? "nowhere" : "on ", toldPath.cStr());
  }

  // For the loop of that number: all loops share the clients, the first serves the hand-overs.
  void addTo(IoLoop::Listeners& listeners, uint32_t loop) const {
    SocketTerms terms{.most = most, .handOverSocket = nullptr};
    KJ_IF_MAYBE (socket, handOvers) {
      terms.handOverSocket = toldPath.asPtr();
      if (loop == 0) listeners.handOvers.add((*socket)->open());
    }
    listeners.clients.add(IoLoop::Listeners::Clients{clients.open(), terms});
  }

private:
  const Access most;
  ListenSocket clients;
  kj::Maybe<kj::Own<ListenSocket>> handOvers;  // Null: there is none.
  kj::String toldPath;                         // Of it, as clients are told.
};

// flow-go's gRPC service, and the way to it. Goes in this order from below.
struct Grpc {
  Grpc(const Options& options, const Host& host, kj::AsyncIoContext& io, uint32_t connections)
      : listeners(kj::heap<GrpcListeners>(options.grpcSockets, options.grpcTcp)),
        service(host, options.ioThreads),
        acceptor(io, connections,
                 [this](kj::AutoCloseFd connection) { service.serve(kj::mv(connection)); }) {}

  // Until the promise is dropped, or a listener fails.
  kj::Promise<void> accept() { return listeners->acceptWith(acceptor); }

  void stop(kj::Duration timeout) {
    listeners = nullptr;
    service.stop(timeout);
  }

  kj::Own<GrpcListeners> listeners;  // Null once they are closed.
  GrpcService service;
  Acceptor acceptor;
};

// HTTP for operators, where it is wanted. What it shows outlives it.
kj::Maybe<kj::Own<HttpThread>> serveHttp(const Options& options, const LedgerMeters& meters,
                                         const ServiceState& state, const Admin& admin) {
  kj::Vector<HttpPort> ports;
  KJ_IF_MAYBE (address, options.metrics) {
    const TcpListener listener(*address);
    logFields(spdlog::level::info, "metrics server started",
              {{"metrics_port", listener.port()}, {"address", listener.address().cStr()}});
    ports.add(HttpPort{listener.open(), [&meters, &state](const HttpRequest& request) {
                         KJ_IF_MAYBE (health, answerHealth(request, state)) return kj::mv(*health);
                         if (request.path != "/metrics") return notFound();
                         return HttpReply{200, METRICS_TYPE, renderMetrics(meters, state)};
                       }});
  }
  KJ_IF_MAYBE (address, options.admin) {
    const TcpListener listener(*address);
    logFields(spdlog::level::info, "starting admin HTTP server",
              {{"admin_addr", listener.address().cStr()}});
    ports.add(HttpPort{listener.open(), [&state, &admin](const HttpRequest& request) {
                         KJ_IF_MAYBE (health, answerHealth(request, state)) return kj::mv(*health);
                         return admin.answer(request);
                       }});
  }
  if (ports.size() == 0) return nullptr;
  return kj::heap<HttpThread>(ports.releaseAsArray());
}

// Waits for a signal, or for a loop or a listener that failed. Returns the exit status.
int waitForEnd(TerminationSignals& signals, kj::AsyncIoContext& io, kj::Promise<void> failed) {
  int status = 0;
  signals.whenReceived(io.unixEventPort)
      .then([](int signal) {
        logFields(spdlog::level::info, "received signal, shutting down",
                  {{"signal", signal == SIGINT ? "interrupt" : "terminated"}});
      })
      .exclusiveJoin(failed.then([&]() { status = 1; }))
      .wait(io.waitScope);
  return status;
}

// By the names of flow-go's fields.
void logStart(const Options& options) {
  nlohmann::ordered_json fields;
  for (auto& setting : options.settings) {
    for (auto name :
         {"triedir", "ledger-service-tcp", "ledger-service-socket", "admin-addr"}) {
      if (setting.name != name) continue;
      std::string field = name;
      std::replace(field.begin(), field.end(), '-', '_');
      fields[field] = setting.value.cStr();
    }
  }
  fields["metrics_port"] =
      options.metrics.map([](const TcpAddress& address) { return address.port; }).orDefault(0);
  fields["mtrie_cache_size"] = options.forestCapacity;
  fields["version"] = VERSION.cStr();
  logFields(spdlog::level::info, "starting ledger service", fields);
}

void logLoaded(const Ledger& ledger) {
  spdlog::info("ledger ready");
  const auto states = ledger.states();
  logFields(spdlog::level::info, "ledger health check passed",
            {{"state_count", states.size()},
             {"last_state", kj::encodeHex(states.back().ptr()).cStr()}});
}

int serve(Options options, TerminationSignals& signals) {
  logStart(options);
  ClientSockets::refuseIfTaken(options.socket);
  KJ_IF_MAYBE (socket, options.readerSocket) ClientSockets::refuseIfTaken(*socket);
  for (auto& path : options.grpcSockets) ListenSocket::refuseIfTaken(path);
  const bool withGrpc = options.grpcSockets.size() > 0 || options.grpcTcp != nullptr;
  // Answers from here on, and to the end: how the start goes, too.
  const LedgerMeters meters;
  const ServiceState state;
  const Admin admin(state, kj::mv(options.settings));
  const auto http = serveHttp(options, meters, state, admin);
  const uint64_t descriptors = shm::raiseDescriptorLimit();
  // gRPC's connections have the share of a loop.
  const auto shares = shareDescriptors(descriptors, options.ioThreads + (withGrpc ? 1 : 0));

  const uint64_t memoryLimit = options.memoryLimit.orDefault(
      []() { return shm::defaultMemoryLimit(kj::newDiskFilesystem()->getRoot()); });
  auto memory = shm::MemoryBudget::create("--memory-limit", memoryLimit);
  auto sharedMemory = shm::MemoryBudget::createUnder(
      *memory, "--shared-memory-limit", options.sharedMemoryLimit.orDefault(memoryLimit / 2));
  spdlog::info("memory limit {} MiB, of that {} MiB for shared memory; {} descriptors",
               memory->limit() >> 20, sharedMemory->limit() >> 20, descriptors);

  const LogReporter reporter;
  const StorePins storePins;  // Before the ledger: used by its Sets.
  auto opened = openLedger(options, *memory, storePins, signals, reporter, meters, state);
  if (opened == nullptr) {
    spdlog::info("received signal while loading, ledger service stopped");
    return 0;
  }
  auto& ledger = KJ_ASSERT_NONNULL(opened);
  logLoaded(*ledger);

  // Each uses those before it, and goes before them.
  auto retiredArenas = kj::atomicRefcounted<shm::RetiredArenas>();
  const AccessRules access(geteuid(), kj::mv(options.writers), kj::mv(options.readers),
                           kj::mv(options.mapStoreUids));
  // Clients that do not read shall not take what Sets need.
  auto grpcReplies =
      shm::MemoryBudget::createUnder(*memory, "gRPC replies that clients have not read yet",
                                     kj::max(memoryLimit / 4, 2 * options.maxResponseSize));
  const Host host{.ledger = *ledger,
                  .memory = *memory,
                  .sharedMemory = *sharedMemory,
                  .grpcReplies = *grpcReplies,
                  .retiredArenas = *retiredArenas,
                  .storePins = storePins,
                  .limits = limitsOf(options, shares),
                  .access = access,
                  .start = kj::systemPreciseMonotonicClock().now(),
                  .workers = Workers(options.workers, WORKER_QUEUE),
                  .checkpointCalls = Workers(1, CHECKPOINT_QUEUE)};
  kj::Vector<kj::Own<ClientSockets>> sockets;
  sockets.add(kj::heap<ClientSockets>(options.socket, Access::WRITE));
  KJ_IF_MAYBE (readers, options.readerSocket) {
    sockets.add(kj::heap<ClientSockets>(*readers, Access::READ));
  }

  auto io = kj::setupAsyncIo();
  auto failure = kj::newPromiseAndCrossThreadFulfiller<void>();
  kj::Maybe<Grpc> grpc;
  kj::Promise<void> grpcFailed = kj::NEVER_DONE;
  if (withGrpc) {
    auto& started = grpc.emplace(options, host, io, shares.connections);
    grpcFailed = started.accept().catch_([](kj::Exception&& exception) {
      spdlog::critical("a gRPC listener failed: {}", exception.getDescription().cStr());
    });
  }
  kj::Vector<kj::Own<IoLoop>> loops;
  for (uint32_t index = 0; index < options.ioThreads; ++index) {
    IoLoop::Listeners listeners;
    for (auto& each : sockets) each->addTo(listeners, index);
    loops.add(kj::heap<IoLoop>(host, kj::mv(listeners), options.shutdownSeconds * kj::SECONDS,
                               [&](const kj::Exception& exception) {
                                 spdlog::critical("an event loop failed: {}",
                                                  exception.getDescription().cStr());
                                 failure.fulfiller->fulfill();
                               }));
  }
  const ServiceState::Serving serving(state, host);
  tellReady(options.readyFd);

  const int status =
      waitForEnd(signals, io, failure.promise.exclusiveJoin(kj::mv(grpcFailed)));
  host.shuttingDown = true;
  ledger->giveUpCheckpoint();  // Calls that wait for it would hold up the end.
  for (auto& loop : loops) loop->stop();
  KJ_IF_MAYBE (started, grpc) {
    started->stop(options.shutdownSeconds * kj::SECONDS);  // While the loops do likewise.
  }
  loops.clear();
  return status;
}

int run(kj::ArrayPtr<const char* const> arguments) {
  auto parsed = parseOptions(arguments);
  KJ_IF_MAYBE (exit, parsed.tryGet<Exit>()) {
    fputs(exit->text.cStr(), exit->status == 0 ? stdout : stderr);
    return exit->status;
  }
  auto& options = parsed.get<Options>();

  // A client that goes away, or a file that may grow no more, is an error where it is met.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  TerminationSignals signals;
  Logging logging(options.logLevel,
                  isatty(STDERR_FILENO) ? Logging::Form::TERMINAL : Logging::Form::JSON);
  KjLogging kjLogging;

  int status = 1;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                              [&]() { status = serve(kj::mv(options), signals); })) {
    spdlog::critical("{}", exception->getDescription().cStr());
    return 1;
  }
  spdlog::info("ledger service stopped");
  return status;
}

}  // namespace
}  // namespace ledger::server

int main(int argc, char** argv) {
  const int skipped = argc > 0 ? 1 : 0;
  return ledger::server::run(kj::ArrayPtr<const char* const>(argv + skipped, argc - skipped));
}
