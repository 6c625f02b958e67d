// SPDX-License-Identifier: Apache-2.0
// ledgerctl: the ledger's operations for people and scripts. See --help.

#include "client/connect.h"
#include "tools/ledgerctl/checkpoint-commands.h"
#include "tools/ledgerctl/commands.h"
#include "tools/ledgerctl/options.h"
#include "tools/ledgerctl/output.h"
#include "tools/ledgerctl/wal-commands.h"

#include <kj/async-io.h>
#include <kj/debug.h>

#include <cmath>
#include <csignal>
#include <cstdio>

namespace ledgerctl {
namespace {

kj::Duration seconds(double count) {
  return std::llround(count * 1e6) * kj::MICROSECONDS;
}

ExitCode runWithServer(const Options& options, Output& output) {
  auto input = readInput(options, output);
  KJ_IF_MAYBE (code, input.tryGet<ExitCode>()) return *code;
  auto io = kj::setupAsyncIo();
  ledger::client::ConnectOptions connect{
      .address = options.socket.c_str(),
      .connection = {.name = "ledgerctl", .transport = options.transport},
      .connectTimeout = seconds(options.connectTimeoutSeconds),
      .handshakeTimeout = seconds(options.timeoutSeconds),
      .callTimeout = seconds(options.timeoutSeconds),
  };
  kj::Own<ledger::client::LedgerClient> client;
  auto failure = kj::runCatchingExceptions([&]() {
    auto& network = io.provider->getNetwork();
    auto& timer = io.provider->getTimer();
    client = ledger::client::connect(network, timer, connect).wait(io.waitScope);
  });
  KJ_IF_MAYBE (exception, failure) {
    // Also a server that refuses: another version, or no shared memory where it was asked for.
    return output.fail(ExitCode::NO_CONNECTION, exception->getDescription());
  }
  return runCommand(options, input.get<Input>(), *client, io.provider->getTimer(),
                    io.waitScope, output);
}

ExitCode runOnFiles(const Options& options, Output& output) {
  switch (options.command) {
    case Command::VERIFY:
      return runVerify(options, output);
    case Command::WAL_DUMP:
      return runWalDump(options, output);
    case Command::WAL_VERIFY:
      return runWalVerify(options, output);
    case Command::CHECKPOINT_INFO:
      return runCheckpointInfo(options, output);
    case Command::CHECKPOINT_ROOTS:
      return runCheckpointRoots(options, output);
    case Command::CHECKPOINT_VERIFY:
      return runCheckpointVerify(options, output);
    case Command::CHECKPOINT_EXPORT:
      return runCheckpointExport(options, output);
    default:
      break;
  }
  KJ_FAIL_REQUIRE("not a command for files");
}

// Of a command that asks a server.
ExitCode codeOf(const kj::Exception& exception) {
  switch (exception.getType()) {
    case kj::Exception::Type::DISCONNECTED:
    case kj::Exception::Type::OVERLOADED:
      return ExitCode::NO_CONNECTION;
    case kj::Exception::Type::FAILED:
    case kj::Exception::Type::UNIMPLEMENTED:
      break;
  }
  return ExitCode::INTERNAL;
}

ExitCode run(const Options& options) {
  Output output(options.json ? Output::Form::JSON : Output::Form::TEXT);
  const bool asksServer = needsServer(options.command);
  auto code = ExitCode::INTERNAL;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 code = asksServer ? runWithServer(options, output) : runOnFiles(options, output);
               })) {
    return output.fail(asksServer ? codeOf(*exception) : ExitCode::INTERNAL,
                       exception->getDescription());
  }
  return code;
}

}  // namespace
}  // namespace ledgerctl

int main(int argc, char** argv) {
  // A reader that goes away is an error of write().
  signal(SIGPIPE, SIG_IGN);
  auto parsed = ledgerctl::parseOptions(argc, argv);
  KJ_IF_MAYBE (exit, parsed.tryGet<ledgerctl::Exit>()) {
    fputs(exit->text.c_str(), exit->code == ledgerctl::ExitCode::OK ? stdout : stderr);
    return static_cast<int>(exit->code);
  }
  return static_cast<int>(ledgerctl::run(parsed.get<ledgerctl::Options>()));
}
