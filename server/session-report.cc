// SPDX-License-Identifier: Apache-2.0
#include "server/session-report.h"

#include <nlohmann/json.hpp>

namespace ledger::server {
namespace {

using Json = nlohmann::ordered_json;

const char* nameOf(SessionFacts::Transport transport) {
  switch (transport) {
    case SessionFacts::Transport::INLINE:
      return "inline";
    case SessionFacts::Transport::SHARED_MEMORY:
      return "shared memory";
    case SessionFacts::Transport::HAND_OVER:
      return "hand-over";
  }
  KJ_UNREACHABLE;
}

template <typename T>
Json numberOrNull(const kj::Maybe<T>& number) {
  KJ_IF_MAYBE (it, number) return *it;
  return nullptr;
}

}  // namespace

Json sessionsReport(const Host& host) {
  const auto now = kj::systemPreciseMonotonicClock().now();
  auto list = Json::array();
  for (auto& use : host.sessionList.snapshot()) {
    list.push_back({{"id", use.id},
                    {"user", numberOrNull(use.facts.user)},
                    {"process", numberOrNull(use.facts.process)},
                    {"client", use.facts.client.cStr()},
                    {"may_write", use.facts.access == Access::WRITE},
                    {"transport", nameOf(use.facts.transport)},
                    {"age_ms", (now - use.facts.start) / kj::MILLISECONDS},
                    {"calls_in_flight", use.callsInFlight},
                    {"regions", use.arenas.regions},
                    {"lent_bytes", use.arenas.lent},
                    {"arenas", use.arenas.arenas.size()},
                    {"committed_bytes", use.arenas.committed},
                    {"registered_arenas", use.registeredArenas},
                    {"pinned_states", use.pinnedStates}});
  }
  return list;
}

Json arenasReport(const Host& host) {
  auto sessions = Json::array();
  for (auto& use : host.sessionList.snapshot()) {
    auto arenas = Json::array();
    for (auto& arena : use.arenas.arenas) {
      arenas.push_back({{"id", arena.id},
                        {"capacity_bytes", arena.capacity},
                        {"lent_bytes", arena.lent},
                        {"regions", arena.regions}});
    }
    if (arenas.empty() && use.arenas.committed == 0) continue;
    sessions.push_back({{"session", use.id},
                        {"client", use.facts.client.cStr()},
                        {"committed_bytes", use.arenas.committed},
                        {"lent_bytes", use.arenas.lent},
                        {"arenas", arenas}});
  }
  return {{"used_bytes", host.sharedMemory.used()},
          {"limit_bytes", host.sharedMemory.limit()},
          {"limit_of_a_session_bytes", host.limits.arenaBytes},
          {"sessions", sessions}};
}

}  // namespace ledger::server
