// SPDX-License-Identifier: Apache-2.0
#include "server/log-fields.h"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

// spdlog carries one text. Fields stand before the message, between two of these, which JSON never
// holds as they are. No message begins with one: text from outside never comes first.
constexpr char MARK = '\x1e';

}  // namespace

void logFields(spdlog::level::level_enum level, std::string_view message,
               const nlohmann::ordered_json& fields) {
  auto logger = spdlog::default_logger();
  if (logger == nullptr || !logger->should_log(level)) return;
  using Handler = nlohmann::ordered_json::error_handler_t;
  std::string payload(1, MARK);
  payload += fields.dump(-1, ' ', false, Handler::replace);
  payload += MARK;
  payload += message;
  logger->log(level, spdlog::string_view_t(payload));
}

LineContent contentOf(std::string_view payload) {
  if (payload.empty() || payload[0] != MARK) return {{}, payload};
  const auto end = payload.find(MARK, 1);
  if (end == std::string_view::npos) return {{}, payload};
  return {payload.substr(1, end - 1), payload.substr(end + 1)};
}

}  // namespace ledger::server
