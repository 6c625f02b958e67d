// SPDX-License-Identifier: Apache-2.0
#include "server/logging.h"

#include "server/log-fields.h"

#include <kj/debug.h>
#include <nlohmann/json.hpp>
#include <spdlog/async.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/ansicolor_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <ctime>

namespace ledger::server {
namespace {

constexpr size_t QUEUED_LINES = 8192;  // Then the oldest are dropped, rather than anybody wait.

spdlog::level::level_enum spdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::TRACE:
      return spdlog::level::trace;
    case LogLevel::DEBUG:
      return spdlog::level::debug;
    case LogLevel::INFO:
      return spdlog::level::info;
    case LogLevel::WARN:
      return spdlog::level::warn;
    case LogLevel::ERROR:
      return spdlog::level::err;
    case LogLevel::FATAL:
    case LogLevel::PANIC:
      return spdlog::level::critical;
  }
  KJ_UNREACHABLE;
}

const char* nameOf(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
      return "trace";
    case spdlog::level::debug:
      return "debug";
    case spdlog::level::info:
      return "info";
    case spdlog::level::warn:
      return "warn";
    case spdlog::level::err:
      return "error";
    default:
      return "fatal";
  }
}

nlohmann::ordered_json fieldsOf(const LineContent& content) {
  if (content.fields.empty()) return nlohmann::ordered_json::object();
  auto fields = nlohmann::ordered_json::parse(content.fields, nullptr, false);
  return fields.is_object() ? fields : nlohmann::ordered_json::object();
}

class JsonFormatter final : public spdlog::formatter {
public:
  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    char time[32];
    const time_t seconds = std::chrono::system_clock::to_time_t(line.time);
    tm utc;
    strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));

    const auto content = contentOf({line.payload.data(), line.payload.size()});
    nlohmann::ordered_json object = {{"level", nameOf(line.level)},
                                     {"service", "ledger"},
                                     {"time", time},
                                     {"message", std::string(content.message)}};
    const auto fields = fieldsOf(content);
    for (auto& field : fields.items()) {
      if (!object.contains(field.key())) object[field.key()] = field.value();
    }
    // Paths and clients' names may hold any bytes: what is not UTF-8 is replaced.
    const std::string text =
        object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
    out.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

// "message  name=value name=value"
class TextFlag final : public spdlog::custom_flag_formatter {
public:
  void format(const spdlog::details::log_msg& line, const tm&, spdlog::memory_buf_t& out) override {
    const auto content = contentOf({line.payload.data(), line.payload.size()});
    out.append(content.message.data(), content.message.data() + content.message.size());
    std::string text;
    const auto fields = fieldsOf(content);
    for (auto& field : fields.items()) {
      const auto& value = field.value();
      text += text.empty() ? "  " : " ";
      text += field.key() + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
    }
    out.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<TextFlag>();
  }
};

}  // namespace

std::unique_ptr<spdlog::formatter> newJsonFormatter() {
  return std::make_unique<JsonFormatter>();
}

std::unique_ptr<spdlog::formatter> newTextFormatter() {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<TextFlag>('*').set_pattern("%H:%M:%S %^%-5l%$ %*");
  return formatter;
}

void setLogLevel(LogLevel level) {
  auto logger = spdlog::default_logger();
  if (logger != nullptr) logger->set_level(spdlogLevel(level));  // Null: the log has ended.
}

Logging::Logging(LogLevel level, Form form) {
  spdlog::init_thread_pool(QUEUED_LINES, 1);
  spdlog::sink_ptr sink;
  if (form == Form::TERMINAL) {
    sink = std::make_shared<spdlog::sinks::ansicolor_stderr_sink_mt>();
    sink->set_formatter(newTextFormatter());
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_formatter(newJsonFormatter());
  }
  auto logger = std::make_shared<spdlog::async_logger>(
      "ledgerd", sink, spdlog::thread_pool(), spdlog::async_overflow_policy::overrun_oldest);
  logger->set_level(spdlogLevel(level));
  logger->flush_on(spdlog::level::warn);
  spdlog::set_default_logger(logger);
}

Logging::~Logging() noexcept(false) {
  spdlog::shutdown();
}

void KjLogging::logMessage(kj::LogSeverity severity, const char* file, int line, int,
                           kj::String&& text) {
  auto level = spdlog::level::debug;
  if (severity == kj::LogSeverity::WARNING) level = spdlog::level::warn;
  if (severity == kj::LogSeverity::ERROR) level = spdlog::level::err;
  if (severity == kj::LogSeverity::FATAL) level = spdlog::level::critical;
  // Null after Logging has ended.
  auto logger = spdlog::default_logger();
  if (logger != nullptr) logger->log(level, "{} ({}:{})", text.cStr(), file, line);
}

kj::Function<void(kj::Function<void()>)> KjLogging::getThreadInitializer() {
  return [](kj::Function<void()> function) {
    KjLogging logging;
    function();
  };
}

}  // namespace ledger::server
