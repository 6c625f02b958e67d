// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where log lines go: standard error, from one thread of their own, so that a slow terminal or pipe
// holds up nobody. On a terminal they are for people; elsewhere they are JSON lines with flow-go's
// fields (level, service, time, message).
//
// Code logs with spdlog::info("... {}", value) and its siblings; what has fields with logFields().

#include "server/options.h"

#include <kj/common.h>
#include <kj/exception.h>
#include <kj/function.h>

#include <memory>

namespace spdlog {
class formatter;
}

namespace ledger::server {

// Logging is on while this lives. One per process.
class Logging final {
public:
  enum class Form { TERMINAL, JSON };
  Logging(LogLevel level, Form form);

  // Writes what is still queued.
  ~Logging() noexcept(false);
  KJ_DISALLOW_COPY(Logging);
};

// Of the running log. Thread: any.
void setLogLevel(LogLevel level);

// One JSON object per line.
std::unique_ptr<spdlog::formatter> newJsonFormatter();

// For people: time, level, message, fields.
std::unique_ptr<spdlog::formatter> newTextFormatter();

// Sends KJ's own log lines to the log, from this thread and the kj::Threads that it starts, while
// it lives. Lives on the stack.
class KjLogging final : public kj::ExceptionCallback {
public:
  void logMessage(kj::LogSeverity severity, const char* file, int line, int contextDepth,
                  kj::String&& text) override;
  kj::Function<void(kj::Function<void()>)> getThreadInitializer() override;
};

}  // namespace ledger::server
