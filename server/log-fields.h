// SPDX-License-Identifier: Apache-2.0
#pragma once
// Lines of the log that have fields beside their message, as flow-go writes them: who ships logs
// finds values there without taking sentences apart.

#include <nlohmann/json_fwd.hpp>
#include <spdlog/common.h>

#include <string>
#include <string_view>

namespace ledger::server {

// Logs `message` with `fields`, an object. Fields have flow-go's names where they mean the same.
void logFields(spdlog::level::level_enum level, std::string_view message,
               const nlohmann::ordered_json& fields);

// For formatters: what a line of spdlog's holds. `fields` is an object as JSON, or empty.
struct LineContent {
  std::string_view fields, message;
};
LineContent contentOf(std::string_view payload);

}  // namespace ledger::server
