// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/commands.h"

#include "tools/ledgerctl/text.h"

#include <unistd.h>

namespace ledgerctl {
namespace {

using ledger::Error;
using ledger::RootHash;
using ledger::client::LedgerClient;
using ledger::client::Place;
using ledger::client::ServerInfo;
using ledger::client::TransportKind;
using ledger::client::Values;
using ledger::client::View;

// A command in progress: what all of them need.
struct Run {
  const Options& options;
  LedgerClient& client;
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

ExitCode runGet(Run& run, const RootHash& state, kj::ArrayPtr<const Key> keys) {
  auto views = viewsOf(keys);
  auto answer = run.wait(run.client.get(state, views));
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) return run.output.refuse(*error);
  return writeValues(run, state, keys, answer.get<Values>());
}

ExitCode runSet(Run& run, const RootHash& state, kj::ArrayPtr<const Update> updates) {
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

ExitCode runProve(Run& run, const RootHash& state, kj::ArrayPtr<const Key> keys) {
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
        {"private_bytes", ledger.privateBytes},
        {"newest_registers", ledger.newestRegisters},
        {"newest_bytes", ledger.newestBytes},
        {"active_segment", ledger.activeSegment},
        {"memory_used", ledger.memoryUsed},
        {"memory_limit", ledger.memoryLimit}}},
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
      sizeText(ledger.valueBytes), "\n", "log         segment ", ledger.activeSegment, "\n",
      "memory      ", sizeText(ledger.memoryUsed), " of ", sizeText(ledger.memoryLimit),
      "; stores ", sizeText(ledger.committedBytes), " shared, ", sizeText(ledger.privateBytes),
      " private\n", "this session's arenas  ", arenas.arenas, ", ", sizeText(arenas.committedBytes),
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

// `get` and `prove`: files are read before the server is asked for anything.
template <typename Then>
ExitCode withKeys(Run& run, Then&& then) {
  auto keys = readKeys(run.options.items, run.options.file);
  KJ_IF_MAYBE (bad, keys.tryGet<BadText>()) return run.output.fail(ExitCode::USAGE, bad->why);
  auto state = resolveState(run);
  KJ_IF_MAYBE (code, state.tryGet<ExitCode>()) return *code;
  return then(run, state.get<RootHash>(), keys.get<kj::Array<Key>>());
}

ExitCode withUpdates(Run& run) {
  auto updates = readUpdates(run.options.items, run.options.file);
  KJ_IF_MAYBE (bad, updates.tryGet<BadText>()) return run.output.fail(ExitCode::USAGE, bad->why);
  auto state = resolveState(run);
  KJ_IF_MAYBE (code, state.tryGet<ExitCode>()) return *code;
  return runSet(run, state.get<RootHash>(), updates.get<kj::Array<Update>>());
}

}  // namespace

ExitCode runCommand(const Options& options, LedgerClient& client, kj::WaitScope& waitScope,
                    Output& output) {
  Run run{options, client, waitScope, output};
  switch (options.command) {
    case Command::STATES:
      return runStates(run);
    case Command::HAS: {
      auto state = resolveState(run);
      KJ_IF_MAYBE (code, state.tryGet<ExitCode>()) return *code;
      return runHas(run, state.get<RootHash>());
    }
    case Command::GET:
      return withKeys(run, &runGet);
    case Command::SET:
      return withUpdates(run);
    case Command::PROVE:
      return withKeys(run, &runProve);
    case Command::INFO:
      return runInfo(run);
    case Command::VERIFY:
      break;
  }
  KJ_FAIL_REQUIRE("not a command for a server");
}

}  // namespace ledgerctl
