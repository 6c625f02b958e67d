// SPDX-License-Identifier: Apache-2.0
#pragma once
// ledgerd's command line. Every value is checked here, so that the rest can rely on it.

#include "ledger/ledger.h"
#include "server/access.h"
#include "server/socket-owner.h"
#include "server/tcp-listener.h"

#include <kj/array.h>
#include <kj/common.h>
#include <kj/one-of.h>
#include <kj/string.h>

#include <cstdint>

#include <sys/types.h>

namespace ledger::server {

// flow-go's names for levels. Each shows what is at least as bad.
enum class LogLevel { TRACE, DEBUG, INFO, WARN, ERROR, FATAL, PANIC };

// A Unix socket for Cap'n Proto. No path is longer than one may be.
struct SocketOptions {
  kj::String path;
  kj::Maybe<kj::String> handOverPath;  // Of the socket beside it. Null: none is served.
  mode_t mode = 0660;                  // Of both, as is the owner.
  SocketOwner owner;
};

// A flag, without its dashes, and what it was given or is by default; empty: chosen from what the
// machine has, or not set.
struct Setting {
  kj::String name, value;
};

struct Options {
  kj::String triedir;
  SocketOptions socket;
  kj::Maybe<SocketOptions> readerSocket;
  AccessRules::Names writers, readers;
  kj::Maybe<kj::Array<const uid_t>> mapStoreUids;

  // Of flow-go's gRPC service, which is not served without either.
  kj::Array<kj::String> grpcSockets;  // Paths, each as long as one may be.
  kj::Maybe<TcpAddress> grpcTcp;

  // HTTP. Null: not served.
  kj::Maybe<TcpAddress> admin, metrics;

  uint32_t forestCapacity = 500;  // Tries, 1 to 65,535.
  uint64_t walSegmentSize = uint64_t(32) << 20;

  SyncPolicy walSync;
  LedgerOptions::Trust trust = LedgerOptions::Trust::HASHES;
  LedgerOptions::Damage damage = LedgerOptions::Damage::REFUSE;
  uint32_t checkpointDistance = 100;  // Segments.
  uint32_t checkpointsToKeep = 3;     // 0: all.
  uint32_t checkpointThreads = 1;
  CheckpointPolicy::Superfluous superfluousSegments = CheckpointPolicy::Superfluous::KEEP;

  // All in bytes. A limit that is null is chosen from what the machine has.
  uint64_t maxRequestSize = uint64_t(1) << 30;
  uint64_t maxResponseSize = uint64_t(1) << 30;
  uint64_t arenaSize = uint64_t(1) << 30;
  uint64_t inlineThreshold = uint64_t(32) << 10;
  uint64_t diskReserve = uint64_t(1) << 30;
  kj::Maybe<uint64_t> memoryLimit;
  kj::Maybe<uint64_t> sharedMemoryLimit;

  uint32_t ioThreads = 1;
  uint32_t workers = 4;
  uint32_t threads = 1;
  uint32_t shutdownSeconds = 30;  // How long calls in flight may take to finish.

  LogLevel logLevel = LogLevel::INFO;
  kj::Maybe<int> readyFd;  // Told when clients are served. Ours to close.

  kj::Array<Setting> settings;  // All flags as they were written, for who asks.
};

// By flow-go's name, whatever its case. Null: there is none of this name.
kj::Maybe<LogLevel> parseLogLevel(kj::StringPtr name);

// What to print instead of serving, and the process's exit status.
struct Exit {
  int status;
  kj::String text;  // To standard output if status is 0, else to standard error.
};

// `arguments` without the program's name. One dash does for two, as in flow-go's commands.
kj::OneOf<Options, Exit> parseOptions(kj::ArrayPtr<const char* const> arguments);

// Bytes: a number, or a number with KiB, MiB or GiB (or K, M, G). Null: it is neither, or too
// large.
kj::Maybe<uint64_t> parseSize(kj::StringPtr text);

}  // namespace ledger::server
