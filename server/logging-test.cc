// SPDX-License-Identifier: Apache-2.0
#include "server/logging.h"

#include "server/log-fields.h"

#include <gtest/gtest.h>
#include <kj/debug.h>
#include <kj/thread.h>
#include <nlohmann/json.hpp>
#include <spdlog/formatter.h>
#include <spdlog/details/log_msg.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

namespace ledger::server {
namespace {

nlohmann::json lineOf(spdlog::level::level_enum level, const std::string& message) {
  spdlog::details::log_msg line("ledgerd", level, message);
  line.time = std::chrono::system_clock::time_point(std::chrono::seconds(1700000000));
  spdlog::memory_buf_t out;
  newJsonFormatter()->format(line, out);
  std::string text(out.data(), out.size());
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(text.find('\n'), text.size() - 1) << "more than one line";
  return nlohmann::json::parse(text);
}

// Log shippers are set up for these fields.
TEST(JsonFormatter, HasFlowGosFields) {
  auto line = lineOf(spdlog::level::warn, "ledger ready");
  EXPECT_EQ(line["level"], "warn");
  EXPECT_EQ(line["service"], "ledger");
  EXPECT_EQ(line["time"], "2023-11-14T22:13:20Z");
  EXPECT_EQ(line["message"], "ledger ready");
  EXPECT_EQ(lineOf(spdlog::level::err, "")["level"], "error");
  EXPECT_EQ(lineOf(spdlog::level::critical, "")["level"], "fatal");
}

// A client chooses its name and an operator the paths: neither may break a line or forge one.
TEST(JsonFormatter, EscapesEveryByte) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string message = std::string("a") + char(byte) + "b";
    auto line = lineOf(spdlog::level::info, message);
    if (byte >= 128) continue;
    EXPECT_EQ(line["message"], message) << byte;
  }
  EXPECT_EQ(lineOf(spdlog::level::info, "x\"}\n{\"level\":\"fatal")["level"], "info");
}

// Writes one line with fields through a logger with this formatter.
std::string lineWithFields(std::unique_ptr<spdlog::formatter> formatter,
                           const nlohmann::ordered_json& fields) {
  auto text = std::make_shared<std::ostringstream>();
  auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(*text);
  sink->set_formatter(std::move(formatter));
  auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", sink));
  logFields(spdlog::level::info, "ledger {updated}", fields);
  logFields(spdlog::level::debug, "not wanted", fields);
  spdlog::set_default_logger(before);
  return text->str();
}

TEST(LogFields, StandBesideTheMessage) {
  const nlohmann::ordered_json fields = {
      {"from", "ab\x1e\"}"}, {"update_size", 3}, {"level", "fatal"}, {"message", "forged"}};
  auto line = nlohmann::json::parse(lineWithFields(newJsonFormatter(), fields));
  EXPECT_EQ(line["message"], "ledger {updated}");
  EXPECT_EQ(line["from"], "ab\x1e\"}");
  EXPECT_EQ(line["update_size"], 3);
  EXPECT_EQ(line["level"], "info") << "a field never takes the place of what every line has";

  const auto text = lineWithFields(newTextFormatter(), {{"from", "ab"}, {"update_size", 3}});
  EXPECT_NE(text.find("info  ledger {updated}  from=ab update_size=3\n"), std::string::npos)
      << text;
}

TEST(LogFields, OfALineThatOnlyLooksLikeOne) {
  EXPECT_EQ(lineOf(spdlog::level::info, "\x1e no end")["message"], "\x1e no end");
  EXPECT_EQ(lineOf(spdlog::level::info, "\x1e[1]\x1etext")["message"], "text");
  EXPECT_EQ(lineOf(spdlog::level::info, "a\x1e{\"x\":1}\x1e").count("x"), 0u);
}

// A fault that a worker or a loop reports must not end up in plain text beside the log.
TEST(KjLogging, TakesLinesOfEveryThread) {
  auto text = std::make_shared<std::ostringstream>();
  auto before = spdlog::default_logger();
  spdlog::set_default_logger(std::make_shared<spdlog::logger>(
      "test", std::make_shared<spdlog::sinks::ostream_sink_mt>(*text)));
  {
    KjLogging logging;
    KJ_LOG(ERROR, "on this thread", 1);
    kj::Thread thread([]() { KJ_LOG(ERROR, "on another", 2); });
  }
  spdlog::set_default_logger(before);
  EXPECT_NE(text->str().find("on this thread; 1"), std::string::npos) << text->str();
  EXPECT_NE(text->str().find("on another; 2"), std::string::npos) << text->str();
}

}  // namespace
}  // namespace ledger::server
