// SPDX-License-Identifier: Apache-2.0
#include "server/admin.h"

#include "server/log-fields.h"
#include "server/logging.h"
#include "server/session-report.h"

#include <kj/debug.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <string>

namespace ledger::server {
namespace {

using Json = nlohmann::ordered_json;

// Of a command's name, which may be any text, in the log.
constexpr size_t LOGGED_NAME = 64;

// flow-go ends each with a line break.
HttpReply reply(unsigned status, const Json& content) {
  const auto text = content.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  return {status, JSON_TYPE, kj::heapString(text.data(), text.size())};
}

HttpReply output(const Json& content) { return reply(200, {{"output", content}}); }

HttpReply refusal(unsigned status, const std::string& error) {
  return reply(status, {{"error", error}});
}

HttpReply notServing(const ServiceState& state) {
  return refusal(503, std::string("the ledger is not there: ") +
                          nameOf(state.progress().phase).cStr());
}

HttpReply setLevel(const Json& data) {
  if (!data.is_string()) return refusal(400, "data must be the name of a level");
  const auto name = data.get<std::string>();
  KJ_IF_MAYBE (level, parseLogLevel(name.c_str())) {
    setLogLevel(*level);
    logFields(spdlog::level::info, "log level changed", {{"loglevel", name}});
    return output("ok");
  }
  return refusal(400, "invalid log level \"" + name +
                          "\": it is panic, fatal, error, warn, info, debug or trace");
}

// Runs on a worker, as long as it takes.
void writeCheckpoint(const Ledger& ledger) {
  auto written = ledger.checkpoint(Stop::never());
  KJ_SWITCH_ONEOF(written) {
    KJ_CASE_ONEOF(number, uint64_t) {
      logFields(spdlog::level::info, "the checkpoint that was asked for is there",
                {{"checkpoint", number}});
    }
    KJ_CASE_ONEOF(error, Error) {
      logFields(spdlog::level::warn, "the checkpoint that was asked for failed",
                {{"error", error.message.cStr()}});
    }
  }
}

}  // namespace

kj::Maybe<HttpReply> answerHealth(const HttpRequest& request, const ServiceState& state) {
  const bool isReady = request.path == "/ready";
  if (!isReady && request.path != "/live") return nullptr;
  const auto progress = state.progress();
  Json content = {{"status", nameOf(progress.phase).cStr()}};
  if (progress.total > 0) {
    content["done_bytes"] = progress.done;
    content["total_bytes"] = progress.total;
  }
  const bool good = !isReady || progress.phase == ServiceState::Phase::SERVING;
  return reply(good ? 200 : 503, content);
}

struct Admin::Command {
  const char* name;
  HttpReply (*run)(const Admin& admin, const Json& data);
};

kj::ArrayPtr<const Admin::Command> Admin::commands() {
  // flow-go's come first.
  static constexpr Command COMMANDS[] = {
      {"ping", [](const Admin&, const Json&) { return output("pong"); }},
      {"list-commands", [](const Admin& admin, const Json&) { return admin.listCommands(); }},
      {"trigger-checkpoint",
       [](const Admin& admin, const Json&) { return admin.triggerCheckpoint(); }},
      {"set-log-level", [](const Admin&, const Json& data) { return setLevel(data); }},
      {"get-config", [](const Admin& admin, const Json&) { return admin.getConfig(); }},
      {"sessions", [](const Admin& admin, const Json&) { return admin.report(sessionsReport); }},
      {"arena", [](const Admin& admin, const Json&) { return admin.report(arenasReport); }},
  };
  return COMMANDS;
}

HttpReply Admin::answer(const HttpRequest& request) const {
  if (request.path != "/admin/run_command") return notFound();
  if (request.method != kj::HttpMethod::POST) {
    return refusal(405, "method not allowed, use POST");
  }
  if (request.body.size() == 0) return refusal(400, "invalid JSON: EOF");
  Json asked;
  try {
    asked = Json::parse(request.body.begin(), request.body.end());
  } catch (const Json::exception& error) {  // The library reports by exceptions only.
    return refusal(400, std::string("invalid JSON: ") + error.what());
  }
  if (!asked.is_object()) return refusal(400, "invalid JSON: the request must be an object");
  static const Json NOTHING;
  // Not copied: it may be nested as deep as the body is long.
  const auto name = asked.find("commandName"), data = asked.find("data");
  if (name != asked.end() && !name->is_string()) {
    return refusal(400, "invalid JSON: commandName must be a string");
  }
  const auto command = name == asked.end() ? std::string() : name->get<std::string>();
  logFields(spdlog::level::info, "received admin command",
            {{"command", command.substr(0, LOGGED_NAME)}});
  for (auto& each : commands()) {
    if (command == each.name) return each.run(*this, data == asked.end() ? NOTHING : *data);
  }
  return refusal(400, "unknown command: " + command);
}

HttpReply Admin::listCommands() const {
  auto names = Json::array();
  for (auto& each : commands()) names.push_back(each.name);
  return output(names);
}

HttpReply Admin::triggerCheckpoint() const {
  if (isTriggered.exchange(true)) return output("checkpoint already triggered");
  bool posted = false;
  const bool serving = state.withHost([&](const Host& host) {
    posted = host.checkpointCalls.post([&ledger = host.ledger, &isTriggered = isTriggered]() {
      KJ_DEFER(isTriggered = false);
      writeCheckpoint(ledger);
    });
  });
  if (posted) return output("ok");
  isTriggered = false;
  if (!serving) return notServing(state);
  return refusal(503, "too many calls wait for a checkpoint");
}

HttpReply Admin::report(Json (*make)(const Host& host)) const {
  Json content;
  const bool serving = state.withHost([&](const Host& host) { content = make(host); });
  return serving ? output(content) : notServing(state);
}

HttpReply Admin::getConfig() const {
  Json content = Json::object();
  for (auto& setting : settings) content[setting.name.cStr()] = setting.value.cStr();
  state.withHost([&](const Host& host) {
    // Those that were chosen from what the machine has.
    content["memory-limit"] = std::to_string(host.memory.limit());
    content["shared-memory-limit"] = std::to_string(host.sharedMemory.limit());
  });
  return output(content);
}

}  // namespace ledger::server
