// SPDX-License-Identifier: Apache-2.0
#pragma once
// Commands for operators over HTTP, POST /admin/run_command, as flow-go's service has them, and
// some of ours; and what orchestrators ask: GET /live, GET /ready. docs/operations.md lists them.

#include "server/http-thread.h"
#include "server/options.h"
#include "server/service-state.h"

#include <kj/array.h>
#include <nlohmann/json_fwd.hpp>

#include <atomic>

namespace ledger::server {

// `{"status":"serving"}` and the like: 200 where all is well, else 503. Null: another path.
kj::Maybe<HttpReply> answerHealth(const HttpRequest& request, const ServiceState& state);

// Thread: any. What it has begun may use it until the workers have ended.
class Admin final {
public:
  // `settings`: for get-config.
  Admin(const ServiceState& state, kj::Array<Setting> settings)
      : state(state), settings(kj::mv(settings)) {}
  KJ_DISALLOW_COPY(Admin);

  HttpReply answer(const HttpRequest& request) const;

private:
  struct Command;
  static kj::ArrayPtr<const Command> commands();
  HttpReply listCommands() const;
  HttpReply triggerCheckpoint() const;
  HttpReply getConfig() const;
  HttpReply report(nlohmann::ordered_json (*make)(const Host& host)) const;

  const ServiceState& state;
  const kj::Array<Setting> settings;
  // One has been asked for here, and is not over.
  mutable std::atomic<bool> isTriggered{false};
};

}  // namespace ledger::server
