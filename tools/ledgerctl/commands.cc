// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/commands.h"

#include "tools/ledgerctl/progress.h"
#include "tools/ledgerctl/session-list.h"
#include "tools/ledgerctl/text.h"

#include <algorithm>

#include <unistd.h>

namespace ledgerctl {
namespace {

using ledger::Error;
using ledger::RootHash;
using ledger::client::LedgerClient;
using ledger::client::Place;
using ledger::client::ServerInfo;
using ledger::client::SessionInfo;
using ledger::client::TransportKind;
using ledger::client::Values;
using ledger::client::View;

// A command in progress: what all of them need.
struct Run {
  const Options& options;
  const Input& input;
  LedgerClient& client;
  kj::Timer& timer;
  kj::WaitScope& waitScope;
  Output& output;

  template <typename T>
  T wait(kj::Promise<T> promise) {
    return promise.wait(waitScope);
  }
};

kj::String stateText(const RootHash& state) {
  return toHex(state.ptr());
}
Json stateJson(const RootHash& state) {
  return hexJson(state.ptr());
}

kj::StringPtr placeText(Place place) {
  return place == Place::SHARED_MEMORY ? "through shared memory" : "inline";
}

// The state that --state names, or the exit code of what is wrong with it.
kj::OneOf<RootHash, ExitCode> resolveState(Run& run) {
  auto parsed = parseState(run.options.state.c_str());
  KJ_IF_MAYBE (bad, parsed.tryGet<BadText>()) return run.output.fail(ExitCode::USAGE, bad->why);
  auto& name = parsed.get<StateName>();
  if (name.is<RootHash>()) return name.get<RootHash>();
  auto found =
      run.wait(name.is<Latest>() ? run.client.stateByIndex(-1) : run.client.initialState());
  KJ_IF_MAYBE (error, found.tryGet<Error>()) return run.output.refuse(*error);
  return found.get<RootHash>();
}

ExitCode runStates(Run& run) {
  auto answer = run.wait(run.client.states());
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  auto& states = answer.get<kj::Array<RootHash>>();
  if (run.output.isJson()) {
    auto list = Json::array();
    for (auto& state : states) list.push_back(stateJson(state));
    return run.output.object({{"states", list}});
  }
  auto code = ExitCode::OK;
  for (auto i : kj::indices(states)) {
    auto mark = i + 1 == states.size() ? "  latest"_kj : ""_kj;
    code = kj::max(code, run.output.line(kj::str(i, "  ", stateText(states[i]), mark)));
  }
  return code;
}

ExitCode runHas(Run& run, const RootHash& state) {
  auto answer = run.wait(run.client.hasState(state));
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  bool has = answer.get<bool>();
  auto written = run.output.isJson()
                     ? run.output.object({{"state", stateJson(state)}, {"has", has}})
                     : run.output.line(has ? "yes" : "no");
  return kj::max(written, has ? ExitCode::OK : ExitCode::REFUSED);
}

ExitCode writeValues(Run& run, const RootHash& state, kj::ArrayPtr<const Key> keys,
                     const Values& values) {
  if (run.options.raw) return run.output.bytes(values[0]);
  if (run.output.isJson()) {
    auto registers = Json::array();
    for (auto i : kj::indices(keys)) {
      registers.push_back({{"key", keyJson(keys[i])}, {"value", hexJson(values[i])}});
    }
    return run.output.object({{"state", stateJson(state)}, {"registers", registers}});
  }
  auto code = ExitCode::OK;
  for (auto i : kj::indices(keys)) {
    auto value = values[i].size() == 0
                     ? kj::str("not allocated")
                     : kj::str(sizeText(values[i].size()), "  ", previewText(values[i]));
    code = kj::max(code, run.output.line(kj::str(keyText(keys[i]), "  ", value)));
  }
  return code;
}

ExitCode runGet(Run& run, const RootHash& state) {
  auto views = viewsOf(run.input.keys);
  auto answer = run.wait(run.client.get(state, views));
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  return writeValues(run, state, run.input.keys, answer.get<Values>());
}

ExitCode runSet(Run& run, const RootHash& state) {
  auto updates = run.input.updates.asPtr();
  auto keys = KJ_MAP(update, updates) {
    return ledger::EncodedKey(update.key);
  };
  auto values = KJ_MAP(update, updates) {
    return ledger::Value(update.value);
  };
  auto answer = run.wait(run.client.set(state, keys, values));
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  auto& next = answer.get<RootHash>();
  if (run.output.isJson()) {
    return run.output.object(
        {{"parent", stateJson(state)}, {"registers", updates.size()}, {"state", stateJson(next)}});
  }
  return run.output.line(stateText(next));
}

ExitCode runProve(Run& run, const RootHash& state) {
  auto keys = run.input.keys.asPtr();
  bool toStandardOutput = run.options.output.empty() || run.options.output == "-";
  if (toStandardOutput && !run.output.isJson() && isatty(STDOUT_FILENO)) {
    return run.output.fail(ExitCode::USAGE,
                           "a proof is binary: give --output FILE, redirect it, or use --json");
  }
  auto views = viewsOf(keys);
  auto answer = run.wait(run.client.prove(state, views));
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  auto& proof = answer.get<View>();

  if (toStandardOutput) {
    if (!run.output.isJson()) return run.output.bytes(proof.bytes());
    return run.output.object({{"state", stateJson(state)},
                              {"registers", keys.size()},
                              {"proof", hexJson(proof.bytes())}});
  }
  KJ_IF_MAYBE (failure, writeFile(run.options.output, proof.bytes())) {
    return run.output.fail(ExitCode::INTERNAL, *failure);
  }
  if (run.output.isJson()) {
    return run.output.object({{"state", stateJson(state)},
                              {"registers", keys.size()},
                              {"size", proof.size()},
                              {"output", run.options.output}});
  }
  return run.output.line(kj::str(
      run.options.output.c_str(), ": a proof of ", countText(keys.size(), "register"), " of state ",
      stateText(state), ", ", sizeText(proof.size()), ", fetched ", placeText(proof.place())));
}

kj::StringPtr logStateText(ServerInfo::Log::State state) {
  switch (state) {
    case ServerInfo::Log::State::GOOD:
      return "good";
    case ServerInfo::Log::State::REFUSED:
      return "refused";
    case ServerInfo::Log::State::FAILED:
      return "failed";
    case ServerInfo::Log::State::UNKNOWN:
      break;
  }
  return "unknown";
}

Json numberJson(const kj::Maybe<uint64_t>& number) {
  KJ_IF_MAYBE (it, number) return *it;
  return nullptr;
}

Json checkpointsJson(const ServerInfo::Checkpoints& checkpoints) {
  return {{"newest", numberJson(checkpoints.newest)},
          {"running", numberJson(checkpoints.running)},
          {"done_bytes", checkpoints.doneBytes},
          {"total_bytes", checkpoints.totalBytes},
          {"elapsed_ms", checkpoints.elapsed / kj::MILLISECONDS},
          {"failure", checkpoints.failure.cStr()}};
}

// "segment 7", and what is wrong.
kj::String logText(const ServerInfo& info) {
  auto text = kj::str("segment ", info.ledger.activeSegment, ", ", logStateText(info.log.state));
  return info.log.reason.size() == 0 ? kj::mv(text) : kj::str(text, ": ", info.log.reason);
}

kj::String checkpointsText(const ServerInfo::Checkpoints& checkpoints) {
  auto text = kj::str("none");
  KJ_IF_MAYBE (newest, checkpoints.newest) text = kj::str("newest ", *newest);
  KJ_IF_MAYBE (running, checkpoints.running) {
    const uint64_t total = kj::max(checkpoints.totalBytes, uint64_t(1));
    text = kj::str(text, "; ", *running, " is being written, ", checkpoints.doneBytes * 100 / total,
                   " % of ", sizeText(checkpoints.totalBytes), " in ",
                   checkpoints.elapsed / kj::SECONDS, " s");
  }
  return checkpoints.failure.size() == 0
             ? kj::mv(text)
             : kj::str(text, "; the last attempt failed: ", checkpoints.failure);
}

// Of the stores, what holds neither a node nor a value: to be filled before they grow.
uint64_t freeBytes(const ServerInfo::Ledger& ledger) {
  const auto used = ledger.nodeBytes + ledger.valueBytes;
  return ledger.committedBytes - std::min(ledger.committedBytes, used);
}

// What the stores take, all states together, for each register of the newest one.
uint64_t bytesPerRegister(const ServerInfo::Ledger& ledger) {
  if (ledger.newestRegisters == 0) return 0;
  return (ledger.committedBytes + ledger.privateBytes) / ledger.newestRegisters;
}

Json infoJson(const ServerInfo& info) {
  auto& limits = info.limits;
  auto& arenas = info.arenas;
  auto& ledger = info.ledger;
  return {
      {"build", info.build.cStr()},
      {"protocol_version", info.version},
      {"features", info.features},
      {"transport", info.transport == TransportKind::INLINE ? "inline" : "shm"},
      {"uptime_ms", info.uptime / kj::MILLISECONDS},
      {"sessions", info.sessions},
      {"limits",
       {{"request_bytes", limits.requestBytes},
        {"response_bytes", limits.responseBytes},
        {"inline_threshold", limits.inlineThreshold},
        {"arena_bytes", limits.arenaBytes},
        {"message_words", limits.messageWords},
        {"regions", limits.regions},
        {"calls_in_flight", limits.callsInFlight},
        {"batch_operations", limits.batchOperations},
        {"registered_arenas", limits.registeredArenas}}},
      {"arenas",
       {{"arenas", arenas.arenas},
        {"committed_bytes", arenas.committedBytes},
        {"lent_bytes", arenas.lentBytes},
        {"regions", arenas.regions}}},
      {"ledger",
       {{"states", ledger.states},
        {"nodes", ledger.nodes},
        {"leaves", ledger.leaves},
        {"values", ledger.values},
        {"node_bytes", ledger.nodeBytes},
        {"value_bytes", ledger.valueBytes},
        {"committed_bytes", ledger.committedBytes},
        {"free_bytes", freeBytes(ledger)},
        {"private_bytes", ledger.privateBytes},
        {"bytes_per_register", bytesPerRegister(ledger)},
        {"newest_registers", ledger.newestRegisters},
        {"newest_bytes", ledger.newestBytes},
        {"active_segment", ledger.activeSegment},
        {"memory_used", ledger.memoryUsed},
        {"memory_limit", ledger.memoryLimit}}},
      {"log", {{"state", logStateText(info.log.state).cStr()}, {"reason", info.log.reason.cStr()}}},
      {"checkpoints", checkpointsJson(info.checkpoints)},
  };
}

kj::String infoText(const ServerInfo& info) {
  auto& limits = info.limits;
  auto& arenas = info.arenas;
  auto& ledger = info.ledger;
  auto transport = info.transport == TransportKind::INLINE ? "inline" : "shared memory";
  return kj::str(
      "server      ", info.build, ", up ", info.uptime / kj::SECONDS, " s, ",
      countText(info.sessions, "session"), "\n", "protocol    version ", info.version,
      ", large payloads ", transport, "\n", "ledger      ", countText(ledger.states, "state"),
      "; the newest has ", countText(ledger.newestRegisters, "register"), ", ",
      sizeText(ledger.newestBytes), "\n", "nodes       ", ledger.nodes, " (", "leaves ",
      ledger.leaves, "), ", sizeText(ledger.nodeBytes), "\n", "values      ", ledger.values, ", ",
      sizeText(ledger.valueBytes), "\n", "log         ", logText(info), "\n",
      "checkpoints ", checkpointsText(info.checkpoints), "\n",
      "memory      ", sizeText(ledger.memoryUsed), " of ", sizeText(ledger.memoryLimit),
      "; stores ", sizeText(ledger.committedBytes), " shared (", sizeText(freeBytes(ledger)),
      " free), ", sizeText(ledger.privateBytes), " private: ", bytesPerRegister(ledger),
      " bytes for each of the newest state's registers\n", "this session's arenas  ", arenas.arenas, ", ", sizeText(arenas.committedBytes),
      "; ", countText(arenas.regions, "region"), " of ", sizeText(arenas.lentBytes), " lent\n",
      "limits      requests ", sizeText(limits.requestBytes), ", replies ",
      sizeText(limits.responseBytes), ", inline up to ", sizeText(limits.inlineThreshold),
      ", arenas ", sizeText(limits.arenaBytes), ",\n            ",
      countText(limits.callsInFlight, "call"), " in flight, ",
      countText(limits.batchOperations, "operation"), " a batch, ",
      countText(limits.regions, "region"));
}

ExitCode runInfo(Run& run) {
  auto answer = run.wait(run.client.info());
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  auto& info = answer.get<ServerInfo>();
  return run.output.isJson() ? run.output.object(infoJson(info)) : run.output.line(infoText(info));
}

ExitCode runSessions(Run& run) {
  auto answer = run.wait(run.client.sessions());
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  auto& sessions = answer.get<kj::Array<SessionInfo>>();
  return run.output.isJson() ? run.output.object(sessionsJson(sessions))
                             : run.output.line(sessionsText(sessions));
}

ExitCode runCheckpoint(Run& run) {
  constexpr kj::Duration STEP = 500 * kj::MILLISECONDS;
  kj::Maybe<ledger::Result<uint64_t>> answer;
  auto written = run.client.checkpoint()
                     .then([&answer](ledger::Result<uint64_t>&& result) { answer = kj::mv(result); })
                     .fork();
  ProgressBar bar(progressForm(run.output), kj::systemPreciseMonotonicClock());
  for (;;) {
    run.wait(written.addBranch().exclusiveJoin(run.timer.afterDelay(STEP)));
    KJ_IF_MAYBE (result, answer) {
      bar.clear();
      KJ_IF_MAYBE (error, result->tryGet<Error>()) return run.output.refuse(*error);
      auto number = result->get<uint64_t>();
      return run.output.isJson()
                 ? run.output.object({{"checkpoint", number}})
                 : run.output.line(kj::str("checkpoint ", number, " is on disk and reads back"));
    }
    // A server that is too busy to tell is still writing.
    kj::runCatchingExceptions([&]() {
      auto info = run.wait(run.client.info());
      KJ_IF_MAYBE (it, info.tryGet<ServerInfo>()) {
        bar.update("writing", it->checkpoints.doneBytes, it->checkpoints.totalBytes);
      }
    });
  }
}

// The commands that work on one state.
template <typename Then>
ExitCode withState(Run& run, Then&& then) {
  auto state = resolveState(run);
  KJ_IF_MAYBE (code, state.tryGet<ExitCode>()) return *code;
  return then(run, state.get<RootHash>());
}

}  // namespace

kj::OneOf<Input, ExitCode> readInput(const Options& options, Output& output) {
  switch (options.command) {
    case Command::GET:
    case Command::PROVE: {
      auto keys = readKeys(options.items, options.file);
      KJ_IF_MAYBE (bad, keys.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
      return Input{.keys = kj::mv(keys.get<kj::Array<Key>>()), .updates = nullptr};
    }
    case Command::SET: {
      auto updates = readUpdates(options.items, options.file);
      KJ_IF_MAYBE (bad, updates.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
      return Input{.keys = nullptr, .updates = kj::mv(updates.get<kj::Array<Update>>())};
    }
    default:
      return Input{};
  }
}

ExitCode runCommand(const Options& options, const Input& input, LedgerClient& client,
                    kj::Timer& timer, kj::WaitScope& waitScope, Output& output) {
  Run run{options, input, client, timer, waitScope, output};
  switch (options.command) {
    case Command::STATES:
      return runStates(run);
    case Command::HAS:
      return withState(run, &runHas);
    case Command::GET:
      return withState(run, &runGet);
    case Command::SET:
      return withState(run, &runSet);
    case Command::PROVE:
      return withState(run, &runProve);
    case Command::INFO:
      return runInfo(run);
    case Command::SESSIONS:
      return runSessions(run);
    case Command::CHECKPOINT:
      return runCheckpoint(run);
    default:
      break;
  }
  KJ_FAIL_REQUIRE("not a command for a server");
}

}  // namespace ledgerctl
