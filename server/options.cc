// SPDX-License-Identifier: Apache-2.0
#include "server/options.h"

#include "server/version.h"

#include <CLI/CLI.hpp>
#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>
#include <cctype>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/un.h>

namespace ledger::server {
namespace {

constexpr uint64_t KIB = 1 << 10, MIB = 1 << 20, GIB = 1 << 30;
constexpr size_t MAX_SOCKET_PATH = sizeof(sockaddr_un::sun_path) - 1;

// The flags as they were written.
struct Texts {
  std::string triedir, socket, socketMode = "0660", socketOwner, handOverSocket;
  std::string readerSocket, readerSocketMode, readerSocketOwner, grpcSockets, grpcTcp;
  std::string adminAddress, metricsAddress, metricsPort = "0";
  // Null: not given. A list that was given and is empty is a mistake.
  std::optional<std::string> writerUids, writerGids, readerUids, readerGids, mapStoreUids;
  std::string forestCapacity = "500", walSegmentSize = "32MiB", walSync = "always";
  std::string checkpointDistance = "100", checkpointsToKeep = "3", checkpointThreads;
  std::string diskReserve = "1GiB";
  bool recover = false, verifyOnLoad = false, walRetention = false;
  std::string maxRequestSize = "1GiB", maxResponseSize = "1GiB";
  std::string arenaSize = "1GiB", inlineThreshold = "32KiB";
  std::string memoryLimit, sharedMemoryLimit;
  std::string ioThreads = "1", workers, threads, shutdownSeconds = "30", logLevel = "info", readyFd;
  std::string ignored;
};

constexpr char HIDDEN[] = "";  // CLI11's name for the group that help does not show.

// flow-go's command takes them from a library that it does not use to log: they have no effect.
void declareIgnored(CLI::App& app, std::string& ignored) {
  for (auto flag : {"--logtostderr", "--alsologtostderr"}) {
    app.add_flag(flag, ignored)->group(HIDDEN);
  }
  for (auto flag : {"--stderrthreshold", "-v,--v", "--vmodule", "--log_backtrace_at", "--log_dir",
                    "--log_link", "--logbuflevel"}) {
    app.add_option(flag, ignored)->group(HIDDEN);
  }
}

// Flags that operators of flow-go may look for here.
constexpr struct {
  kj::StringPtr beginning, advice;
} MISPLACED[] = {
    {"--shmipc-"_kj, "shared memory has no files and no names here: --arena-size says how much of "
                     "it a session may have, and --shared-memory-limit how much all may"_kj},
    {"--ledger-transport"_kj, "every transport is served at the same time: the client chooses"_kj},
    {"--ledger-service-addr"_kj, "that is the execution node's: it names one of "
                                 "--ledger-service-socket or --ledger-service-tcp"_kj},
    {"--ledger-service-admin-addr"_kj, "that is the execution node's: it names --admin-addr"_kj},
    {"--ledger-max-request-size"_kj, "that is the execution node's: here it is "
                                     "--max-request-size"_kj},
    {"--ledger-max-response-size"_kj, "that is the execution node's: here it is "
                                      "--max-response-size"_kj},
    {"--call-timeout"_kj, "that is the client's: deadlines come with its calls"_kj},
};

// Null: nothing is known of such a flag.
kj::Maybe<kj::StringPtr> adviceFor(kj::StringPtr argument) {
  for (auto& each : MISPLACED) {
    if (argument.startsWith(each.beginning)) return each.advice;
  }
  return nullptr;
}

std::string defaultWorkers() {
  // Some workers wait for the disk while others compute, so more than there are processors.
  return std::to_string(std::max(4u, ThreadPool::processors() + 2));
}

std::string defaultCheckpointThreads() {
  // Half of the machine: Sets go on meanwhile.
  return std::to_string(std::clamp(ThreadPool::processors() / 2, 1u, 16u));
}

void declare(CLI::App& app, Texts& texts) {
  app.get_formatter()->column_width(30);
  app.get_formatter()->label("TEXT", "");
  app.set_version_flag("--version", std::string("ledgerd ") + VERSION.cStr());
  app.add_option("--triedir", texts.triedir,
                 "Directory of the ledger; an empty one becomes a ledger")
      ->group("Ledger");
  app.add_option("--mtrie-cache-size", texts.forestCapacity,
                 "States that can be read: the oldest goes when a new one comes (1 to 65535)")
      ->group("Ledger")
      ->capture_default_str();
  app.add_option("--wal-segment-size", texts.walSegmentSize,
                 "Length of the log's files: a multiple of 32768, from 32KiB to 1GiB")
      ->group("Ledger")
      ->capture_default_str();

  app.add_option("--wal-sync", texts.walSync,
                 "When the log goes to disk: always (before a Set is answered), interval:MS (at "
                 "most so many milliseconds later), none (as the kernel likes)")
      ->group("Ledger")
      ->capture_default_str();
  app.add_option("--checkpoint-distance", texts.checkpointDistance,
                 "Segments of the log from one checkpoint to the next (0: as 1)")
      ->group("Ledger")
      ->capture_default_str();
  app.add_option("--checkpoints-to-keep", texts.checkpointsToKeep,
                 "Older ones are removed (0: none is)")
      ->group("Ledger")
      ->capture_default_str();
  texts.checkpointThreads = defaultCheckpointThreads();
  app.add_option("--checkpoint-threads", texts.checkpointThreads,
                 "Threads that write a checkpoint (1 to 16)")
      ->group("Ledger")
      ->capture_default_str();
  app.add_flag("--verify-on-load", texts.verifyOnLoad,
               "Compute every hash of the checkpoint that is loaded anew: a start takes longer, and "
               "finds what checksums cannot")
      ->group("Ledger");
  app.add_option("--disk-reserve", texts.diskReserve,
                 "What checkpoints leave free on the ledger's disk")
      ->group("Ledger")
      ->capture_default_str();
  app.add_flag("--wal-retention", texts.walRetention,
               "Remove segments of the log that no kept checkpoint needs")
      ->group("Ledger");
  app.add_flag("--recover", texts.recover,
               "Start on a damaged log: set aside what is damaged and all behind it. It may hold "
               "acknowledged updates")
      ->group("Ledger");

  app.add_option("--socket", texts.socket,
                 "Unix socket to serve on [default: ledgerd.sock in the ledger's directory]")
      ->group("Clients");
  app.add_option("--socket-mode", texts.socketMode, "Its permissions, octal")
      ->group("Clients")
      ->capture_default_str();
  app.add_option("--socket-owner", texts.socketOwner,
                 "USER, USER:GROUP or :GROUP that it is given to, by name or number [default: "
                 "ledgerd's own]")
      ->group("Clients");
  app.add_option("--hand-over-socket", texts.handOverSocket,
                 "Unix socket, of the same owner and permissions, for clients whose Cap'n Proto "
                 "cannot pass descriptors. none: they get no shared memory [default: the socket's "
                 "path and .handover]")
      ->group("Clients");
  app.add_option("--reader-socket", texts.readerSocket,
                 "A second Unix socket, on which nobody may change the ledger, whoever it is. Its "
                 "hand-overs are at its path and .handover")
      ->group("Clients");
  app.add_option("--reader-socket-mode", texts.readerSocketMode,
                 "Its permissions [default: those of --socket-mode]")
      ->group("Clients");
  app.add_option("--reader-socket-owner", texts.readerSocketOwner,
                 "Its owner [default: that of --socket-owner]")
      ->group("Clients");
  app.add_option("--writer-uid", texts.writerUids,
                 "Users, by number, a comma between two, whose clients may change the ledger; "
                 "others then may not [default: all who can open the socket]")
      ->group("Clients");
  app.add_option("--writer-gid", texts.writerGids, "The same, by group")->group("Clients");
  app.add_option("--reader-uid", texts.readerUids,
                 "Users whose clients may read the ledger; others, who are no writers, are then "
                 "refused [default: all who can open the socket]")
      ->group("Clients");
  app.add_option("--reader-gid", texts.readerGids, "The same, by group")->group("Clients");
  app.add_option("--map-store-uid", texts.mapStoreUids,
                 "Users whose clients may map the store: they read large values where they lie, "
                 "and could read all others. none: nobody [default: ledgerd's own user and the "
                 "writers that are named]")
      ->group("Clients");
  app.add_option("--ledger-service-socket", texts.grpcSockets,
                 "Unix sockets to serve flow-go's gRPC service on, separated by commas, open to "
                 "the group (0660)")
      ->group("Clients");
  app.add_option("--ledger-service-tcp", texts.grpcTcp,
                 "HOST:PORT to serve it on as well: without encryption, and to anybody who can "
                 "connect")
      ->group("Clients");
  app.add_option("--admin-addr", texts.adminAddress,
                 "HOST:PORT to serve admin commands on over HTTP: to anybody who can connect")
      ->group("Clients");
  app.add_option("--metrics-port", texts.metricsPort,
                 "Port to serve metrics on for Prometheus, on all of the machine's addresses (0: "
                 "they are not served)")
      ->group("Clients")
      ->capture_default_str();
  app.add_option("--metrics-addr", texts.metricsAddress,
                 "HOST:PORT to serve them on instead, on one address")
      ->group("Clients");
  app.add_option("--max-request-size", texts.maxRequestSize,
                 "Most payload of one request; over gRPC the longest message")
      ->group("Clients")
      ->capture_default_str();
  app.add_option("--max-response-size", texts.maxResponseSize,
                 "Most payload of one reply, likewise")
      ->group("Clients")
      ->capture_default_str();
  app.add_option("--inline-threshold", texts.inlineThreshold,
                 "Longer replies go through shared memory (0: all, at most 64MiB)")
      ->group("Clients")
      ->capture_default_str();

  app.add_option("--arena-size,--shmipc-buffer-size", texts.arenaSize,
                 "Most shared memory of one session")
      ->group("Memory")
      ->capture_default_str();
  app.add_option("--shared-memory-limit", texts.sharedMemoryLimit,
                 "Most shared memory of all sessions [default: half of --memory-limit]")
      ->group("Memory");
  app.add_option(
         "--memory-limit", texts.memoryLimit,
         "Most memory of ledger, arenas and requests [default: 85 % of what the machine, or "
         "the cgroup, has]")
      ->group("Memory");

  app.add_option("--io-threads", texts.ioThreads, "Threads that talk to clients (1 to 64)")
      ->group("Process")
      ->capture_default_str();
  texts.workers = defaultWorkers();
  app.add_option("--workers", texts.workers, "Requests that are worked on at a time (1 to 1024)")
      ->group("Process")
      ->capture_default_str();
  texts.threads = std::to_string(ThreadPool::processors());
  app.add_option("--threads", texts.threads,
                 "Threads that share a large Get, Set or Prove, or a replay; at the start as many load "
                 "the checkpoint (1 to 1024)")
      ->group("Process")
      ->capture_default_str();
  app.add_option("--shutdown-timeout", texts.shutdownSeconds,
                 "Seconds that calls in flight may take to finish after SIGTERM (0 to 3600)")
      ->group("Process")
      ->capture_default_str();
  app.add_option("--loglevel", texts.logLevel, "panic, fatal, error, warn, info, debug or trace")
      ->group("Process")
      ->capture_default_str();
  app.add_option("--ready-fd", texts.readyFd,
                 "Descriptor that gets the line \"ready\" once clients are served")
      ->group("Process");
  declareIgnored(app, texts.ignored);
}

kj::Array<Setting> settingsOf(const CLI::App& app) {
  kj::Vector<Setting> settings;
  for (auto* option : app.get_options([](const CLI::Option* option) {
         return option->get_group() != HIDDEN && option->get_group() != "Options";
       })) {
    std::string value = option->get_default_str();
    if (option->count() > 0) {
      value = option->results().back();
    } else if (option->get_items_expected_max() == 0) {
      value = "false";
    }
    settings.add(Setting{kj::str(option->get_lnames().front()), kj::str(value)});
  }
  return settings.releaseAsArray();
}

// Reads the texts and notes what is wrong with them.
class Checker {
public:
  uint64_t number(kj::StringPtr flag, const std::string& text, uint64_t least, uint64_t most) {
    KJ_IF_MAYBE (value, parseDecimal(text)) {
      if (*value >= least && *value <= most) return *value;
    }
    problem(flag, " must be a number from ", least, " to ", most, ", not \"", text, "\"");
    return least;
  }

  uint64_t size(kj::StringPtr flag, const std::string& text, uint64_t least, uint64_t most) {
    KJ_IF_MAYBE (value, parseSize(kj::StringPtr(text.c_str(), text.size()))) {
      if (*value >= least && *value <= most) return *value;
    }
    problem(flag, " must be a size from ", least, " to ", most, " bytes, not \"", text, "\"");
    return least;
  }

  kj::Maybe<uint64_t> optionalSize(kj::StringPtr flag, const std::string& text, uint64_t least,
                                   uint64_t most) {
    if (text.empty()) return nullptr;
    return size(flag, text, least, most);
  }

  template <typename... Params>
  void problem(Params&&... params) {
    problems.add(kj::str("error: ", kj::fwd<Params>(params)..., "\n"));
  }

  kj::Vector<kj::String> problems;

private:
  static kj::Maybe<uint64_t> parseDecimal(const std::string& text) {
    if (text.empty() || text.size() > 19) return nullptr;
    uint64_t value = 0;
    for (char digit : text) {
      if (digit < '0' || digit > '9') return nullptr;
      value = value * 10 + (digit - '0');
    }
    return value;
  }
};

mode_t parseMode(Checker& check, kj::StringPtr flag, const std::string& text) {
  mode_t mode = 0;
  const bool octal =
      !text.empty() && text.size() <= 4 && text.find_first_not_of("01234567") == std::string::npos;
  if (octal) mode = std::stoul(text, nullptr, 8);
  if (!octal || mode > 0777 || (mode & 0600) != 0600) {
    check.problem(flag, " must be octal, from 0600 to 0777, not \"", text, "\"");
  }
  return mode;
}

// Numbers of users or groups; none if the flag was not given.
kj::Array<const uint32_t> parseIds(Checker& check, kj::StringPtr flag,
                                   const std::optional<std::string>& given) {
  if (!given) return nullptr;
  const auto& text = *given;
  kj::Vector<uint32_t> ids;
  std::stringstream list(text + ",");
  for (std::string id; std::getline(list, id, ',');) {
    // The last number is nobody's: it means "unchanged" to the system.
    ids.add(check.number(flag, id, 0, UINT32_MAX - 1));
  }
  return ids.releaseAsArray();
}

LogLevel checkLogLevel(Checker& check, const std::string& text) {
  KJ_IF_MAYBE (level, parseLogLevel(text.c_str())) return *level;
  check.problem("invalid log level \"", text,
                "\": --loglevel is panic, fatal, error, warn, info, debug or trace");
  return LogLevel::INFO;
}

SyncPolicy parseWalSync(Checker& check, const std::string& text) {
  constexpr uint64_t MAX_MS = 60'000;
  if (text == "always") return {};
  if (text == "none") return {.mode = SyncPolicy::Mode::NEVER};
  const std::string prefix = "interval:";
  if (text.rfind(prefix, 0) == 0) {
    const auto ms = check.number("--wal-sync interval", text.substr(prefix.size()), 1, MAX_MS);
    return {.mode = SyncPolicy::Mode::INTERVAL, .interval = int64_t(ms) * kj::MILLISECONDS};
  }
  check.problem("--wal-sync must be always, interval:MILLISECONDS or none, not \"", text, "\"");
  return {};
}

kj::String parseSocketPath(Checker& check, const Texts& texts) {
  const bool chosen = !texts.socket.empty();
  auto path = chosen ? kj::str(texts.socket) : kj::str(texts.triedir, "/ledgerd.sock");
  if (path.size() > MAX_SOCKET_PATH) {
    check.problem("the socket's path \"", path, "\" has ", path.size(), " bytes; the most is ",
                  MAX_SOCKET_PATH, chosen ? "" : ". Choose another with --socket");
  }
  return path;
}

SocketOwner parseOwner(Checker& check, kj::StringPtr flag, const std::string& text) {
  if (text.empty()) return {};
  auto parsed = parseSocketOwner(text.c_str());
  KJ_IF_MAYBE (owner, parsed.tryGet<SocketOwner>()) return *owner;
  check.problem(flag, ": ", parsed.get<kj::String>());
  return {};
}

void checkPathLength(Checker& check, kj::StringPtr flag, kj::StringPtr path) {
  if (path.size() <= MAX_SOCKET_PATH) return;
  check.problem("the path in ", flag, ", \"", path, "\", has ", path.size(),
                " bytes; the most is ", MAX_SOCKET_PATH);
}

// Null where it would be too long.
kj::Maybe<kj::String> defaultHandOverPath(kj::StringPtr socket) {
  auto path = kj::str(socket, ".handover");
  if (path.size() > MAX_SOCKET_PATH) return nullptr;
  return path;
}

SocketOptions parseSocket(Checker& check, const Texts& texts) {
  SocketOptions socket{.path = parseSocketPath(check, texts),
                       .handOverPath = nullptr,
                       .mode = parseMode(check, "--socket-mode", texts.socketMode),
                       .owner = parseOwner(check, "--socket-owner", texts.socketOwner)};
  if (texts.handOverSocket.empty()) {
    socket.handOverPath = defaultHandOverPath(socket.path);
  } else if (texts.handOverSocket != "none") {
    checkPathLength(check, "--hand-over-socket", texts.handOverSocket.c_str());
    socket.handOverPath = kj::str(texts.handOverSocket);
  }
  return socket;
}

kj::Maybe<SocketOptions> parseReaderSocket(Checker& check, const Texts& texts,
                                           const SocketOptions& socket) {
  if (texts.readerSocket.empty()) {
    if (!texts.readerSocketMode.empty() || !texts.readerSocketOwner.empty()) {
      check.problem("--reader-socket-mode and --reader-socket-owner need --reader-socket");
    }
    return nullptr;
  }
  checkPathLength(check, "--reader-socket", texts.readerSocket.c_str());
  SocketOptions reader{.path = kj::str(texts.readerSocket),
                       .handOverPath = nullptr,
                       .mode = socket.mode,
                       .owner = socket.owner};
  if (texts.handOverSocket != "none") reader.handOverPath = defaultHandOverPath(reader.path);
  if (!texts.readerSocketMode.empty()) {
    reader.mode = parseMode(check, "--reader-socket-mode", texts.readerSocketMode);
  }
  if (!texts.readerSocketOwner.empty()) {
    reader.owner = parseOwner(check, "--reader-socket-owner", texts.readerSocketOwner);
  }
  return reader;
}

// No two sockets have one name.
void checkPathsDiffer(Checker& check, const Options& options) {
  kj::Vector<kj::StringPtr> paths;
  auto add = [&](kj::StringPtr path) {
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) {
      check.problem("two sockets of this server have the path \"", path, "\"");
    }
    paths.add(path);
  };
  auto addBoth = [&](const SocketOptions& socket) {
    add(socket.path);
    KJ_IF_MAYBE (path, socket.handOverPath) add(*path);
  };
  addBoth(options.socket);
  KJ_IF_MAYBE (socket, options.readerSocket) addBoth(*socket);
  for (auto& path : options.grpcSockets) add(path);
}

// As flow-go reads its list: blanks around a path do not belong to it, and one of nothing is none.
kj::Array<kj::String> parseGrpcSockets(Checker& check, const Texts& texts) {
  kj::Vector<kj::String> paths;
  std::istringstream items(texts.grpcSockets);
  for (std::string item; std::getline(items, item, ',');) {
    const auto begin = item.find_first_not_of(" \t");
    if (begin == std::string::npos) continue;
    const auto end = item.find_last_not_of(" \t");
    auto path = kj::str(item.substr(begin, end - begin + 1));
    checkPathLength(check, "--ledger-service-socket", path);
    paths.add(kj::mv(path));
  }
  return paths.releaseAsArray();
}

kj::Maybe<TcpAddress> parseAddress(Checker& check, kj::StringPtr flag, const std::string& text) {
  if (text.empty()) return nullptr;
  auto address = parseTcpAddress(text.c_str());
  if (address == nullptr) {
    check.problem(flag, " must be HOST:PORT, as 127.0.0.1:9000, or :PORT, not \"", text, "\"");
  }
  return address;
}

kj::Maybe<TcpAddress> parseMetricsAddress(Checker& check, const Texts& texts) {
  const uint16_t port = check.number("--metrics-port", texts.metricsPort, 0, UINT16_MAX);
  if (port == 0) return parseAddress(check, "--metrics-addr", texts.metricsAddress);
  if (!texts.metricsAddress.empty()) {
    check.problem("--metrics-port and --metrics-addr are two ways to say one thing: give one");
  }
  return TcpAddress{kj::str(), port};
}

Options check(Checker& check, const Texts& texts) {
  Options options;
  if (texts.triedir.empty()) check.problem("--triedir is required");
  options.triedir = kj::str(texts.triedir);
  options.socket = parseSocket(check, texts);
  options.readerSocket = parseReaderSocket(check, texts, options.socket);
  options.writers = {parseIds(check, "--writer-uid", texts.writerUids),
                     parseIds(check, "--writer-gid", texts.writerGids)};
  options.readers = {parseIds(check, "--reader-uid", texts.readerUids),
                     parseIds(check, "--reader-gid", texts.readerGids)};
  if (texts.mapStoreUids == "none") {
    options.mapStoreUids = kj::Array<const uid_t>(nullptr);
  } else if (texts.mapStoreUids) {
    options.mapStoreUids = parseIds(check, "--map-store-uid", texts.mapStoreUids);
  }
  options.grpcSockets = parseGrpcSockets(check, texts);
  checkPathsDiffer(check, options);
  options.grpcTcp = parseAddress(check, "--ledger-service-tcp", texts.grpcTcp);
  options.admin = parseAddress(check, "--admin-addr", texts.adminAddress);
  options.metrics = parseMetricsAddress(check, texts);
  const bool isGrpcServed = options.grpcSockets.size() > 0 || options.grpcTcp != nullptr;
  if (isGrpcServed && !(options.writers.isEmpty() && options.readers.isEmpty())) {
    check.problem("--writer-uid, --writer-gid, --reader-uid and --reader-gid do not hold for gRPC, "
                  "whose clients are not known: leave them out, or serve no gRPC");
  }
  options.forestCapacity = check.number("--mtrie-cache-size", texts.forestCapacity, 1, 65535);
  options.walSegmentSize = check.size("--wal-segment-size", texts.walSegmentSize, 32 * KIB, GIB);
  if (options.walSegmentSize % 32768 != 0) {
    check.problem("--wal-segment-size must be a multiple of 32768, not ", options.walSegmentSize);
  }

  options.walSync = parseWalSync(check, texts.walSync);
  const uint32_t distance =
      check.number("--checkpoint-distance", texts.checkpointDistance, 0, 1'000'000'000);
  options.checkpointDistance = kj::max(distance, 1u);
  options.checkpointsToKeep =
      check.number("--checkpoints-to-keep", texts.checkpointsToKeep, 0, 1'000'000'000);
  options.checkpointThreads = check.number("--checkpoint-threads", texts.checkpointThreads, 1, 16);
  options.diskReserve = check.size("--disk-reserve", texts.diskReserve, 0, 65536 * GIB);
  if (texts.walRetention) {
    options.superfluousSegments = CheckpointPolicy::Superfluous::REMOVE;
  }
  if (texts.verifyOnLoad) options.trust = LedgerOptions::Trust::NOTHING;
  if (texts.recover) options.damage = LedgerOptions::Damage::SET_ASIDE;

  options.maxRequestSize = check.size("--max-request-size", texts.maxRequestSize, KIB, 64 * GIB);
  options.maxResponseSize = check.size("--max-response-size", texts.maxResponseSize, KIB, 64 * GIB);
  options.inlineThreshold = check.size("--inline-threshold", texts.inlineThreshold, 0, 64 * MIB);
  options.arenaSize = check.size("--arena-size", texts.arenaSize, 64 * KIB, 1024 * GIB);
  options.memoryLimit =
      check.optionalSize("--memory-limit", texts.memoryLimit, 16 * MIB, 65536 * GIB);
  options.sharedMemoryLimit =
      check.optionalSize("--shared-memory-limit", texts.sharedMemoryLimit, 64 * KIB, 65536 * GIB);
  KJ_IF_MAYBE (shared, options.sharedMemoryLimit) {
    KJ_IF_MAYBE (all, options.memoryLimit) {
      if (*shared > *all) {
        check.problem("--shared-memory-limit is a part of --memory-limit: ", *shared,
                      " is more than ", *all);
      }
    }
  }

  options.ioThreads = check.number("--io-threads", texts.ioThreads, 1, 64);
  options.workers = check.number("--workers", texts.workers, 1, 1024);
  options.threads = check.number("--threads", texts.threads, 1, 1024);
  options.shutdownSeconds = check.number("--shutdown-timeout", texts.shutdownSeconds, 0, 3600);
  options.logLevel = checkLogLevel(check, texts.logLevel);
  if (!texts.readyFd.empty()) {
    const int fd = check.number("--ready-fd", texts.readyFd, 3, 1 << 20);
    if (fcntl(fd, F_GETFD) < 0) check.problem("--ready-fd ", fd, " is not an open descriptor");
    options.readyFd = fd;
  }
  return options;
}

// flow-go's commands take "-flag" and "--flag".
std::string withTwoDashes(kj::StringPtr argument) {
  const bool one = argument.size() > 2 && argument[0] == '-' && isalpha(argument[1]);
  return (one ? "-" : "") + std::string(argument.cStr());
}

}  // namespace

kj::Maybe<LogLevel> parseLogLevel(kj::StringPtr name) {
  std::string text = name.cStr();
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return std::tolower(c); });
  static constexpr struct {
    const char* name;
    LogLevel level;
  } LEVELS[] = {{"trace", LogLevel::TRACE}, {"debug", LogLevel::DEBUG}, {"info", LogLevel::INFO},
                {"warn", LogLevel::WARN},   {"error", LogLevel::ERROR}, {"fatal", LogLevel::FATAL},
                {"panic", LogLevel::PANIC}};
  for (auto& each : LEVELS) {
    if (text == each.name) return each.level;
  }
  return nullptr;
}

kj::Maybe<uint64_t> parseSize(kj::StringPtr text) {
  uint64_t value = 0;
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') {
    if (digits >= 18) return nullptr;
    value = value * 10 + (text[digits++] - '0');
  }
  if (digits == 0) return nullptr;

  auto unit = text.slice(digits);
  uint64_t factor = 1;
  if (unit == "KiB" || unit == "K") {
    factor = KIB;
  } else if (unit == "MiB" || unit == "M") {
    factor = MIB;
  } else if (unit == "GiB" || unit == "G") {
    factor = GIB;
  } else if (unit.size() > 0) {
    return nullptr;
  }
  if (value > UINT64_MAX / factor) return nullptr;
  return value * factor;
}

kj::OneOf<Options, Exit> parseOptions(kj::ArrayPtr<const char* const> arguments) {
  CLI::App app(
      "ledgerd: Flow's execution ledger as a service, over Cap'n Proto and shared memory, and over "
      "gRPC.\n"
      "Sizes are bytes, or have a unit: 64KiB, 512MiB, 2GiB.",
      "ledgerd");
  Texts texts;
  declare(app, texts);

  std::vector<std::string> reversed;  // As CLI11 wants them.
  kj::Maybe<kj::String> misplaced;
  for (auto argument : arguments) {
    reversed.insert(reversed.begin(), withTwoDashes(argument));
    const auto& text = reversed.front();
    if (app.get_option_no_throw(text.substr(0, text.find('='))) != nullptr) continue;
    KJ_IF_MAYBE (advice, adviceFor(text.c_str())) {
      misplaced = kj::str("error: ", text.substr(0, text.find('=')), ": ", *advice, "\n");
    }
  }
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    return Exit{0, kj::str(app.help())};
  } catch (const CLI::CallForVersion&) {
    return Exit{0, kj::str("ledgerd ", VERSION, "\n")};
  } catch (const CLI::ParseError& error) {  // CLI11 reports by exceptions only.
    KJ_IF_MAYBE (text, misplaced) return Exit{2, kj::mv(*text)};
    return Exit{2, kj::str("error: ", error.what(), "\nRun ledgerd --help for the flags.\n")};
  }

  // The directory's name stands before file names in messages.
  while (texts.triedir.size() > 1 && texts.triedir.back() == '/') texts.triedir.pop_back();

  Checker checker;
  auto options = check(checker, texts);
  if (checker.problems.size() > 0) return Exit{1, kj::strArray(checker.problems, "")};
  options.settings = settingsOf(app);
  for (auto& setting : options.settings) {
    if (setting.name == "socket") setting.value = kj::str(options.socket.path);
  }
  return kj::mv(options);
}

}  // namespace ledger::server
