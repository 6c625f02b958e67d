// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/session-list.h"

#include "tools/ledgerctl/text.h"

#include <kj/vector.h>

namespace ledgerctl {
namespace {

using ledger::client::SessionInfo;

const char* transportName(SessionInfo::Transport transport) {
  switch (transport) {
    case SessionInfo::Transport::INLINE:
      return "inline";
    case SessionInfo::Transport::SHARED_MEMORY:
      return "shm";
    case SessionInfo::Transport::HAND_OVER:
      return "hand-over";
    case SessionInfo::Transport::UNKNOWN:
      break;
  }
  return "unknown";
}

Json numberJson(const kj::Maybe<uint32_t>& number) {
  KJ_IF_MAYBE (it, number) return *it;
  return nullptr;
}

kj::String numberText(const kj::Maybe<uint32_t>& number) {
  KJ_IF_MAYBE (it, number) return kj::str(*it);
  return kj::str("?");
}

// "7 s", "12 min", "3 h", "40 d".
kj::String ageText(kj::Duration age) {
  if (age < 2 * kj::MINUTES) return kj::str(age / kj::SECONDS, " s");
  if (age < 2 * kj::HOURS) return kj::str(age / kj::MINUTES, " min");
  if (age < 2 * kj::DAYS) return kj::str(age / kj::HOURS, " h");
  return kj::str(age / kj::DAYS, " d");
}

using Row = kj::Array<kj::String>;

constexpr const char* HEAD[] = {"id",    "user",    "pid",  "access",    "transport",  "age",
                                "calls", "regions", "lent", "committed", "registered", "pinned"};
constexpr size_t COLUMNS = kj::size(HEAD);

Row headRow() {
  return KJ_MAP(title, kj::arrayPtr(HEAD, COLUMNS)) { return kj::str(title); };
}

Row rowOf(const SessionInfo& session) {
  return kj::arr<kj::String>(
      kj::str(session.isThis ? "*" : "", session.id), numberText(session.user),
      numberText(session.process), kj::str(session.mayWrite ? "write" : "read"),
      kj::str(transportName(session.transport)), ageText(session.age),
      kj::str(session.callsInFlight), kj::str(session.regions), sizeText(session.lentBytes),
      sizeText(session.committedBytes), kj::str(session.registeredArenas),
      kj::str(session.pinnedStates));
}

}  // namespace

Json sessionsJson(kj::ArrayPtr<const SessionInfo> sessions) {
  auto list = Json::array();
  for (auto& session : sessions) {
    list.push_back({{"id", session.id},
                    {"this", session.isThis},
                    {"user", numberJson(session.user)},
                    {"process", numberJson(session.process)},
                    {"client", session.client.cStr()},
                    {"may_write", session.mayWrite},
                    {"transport", transportName(session.transport)},
                    {"age_ms", session.age / kj::MILLISECONDS},
                    {"calls_in_flight", session.callsInFlight},
                    {"regions", session.regions},
                    {"lent_bytes", session.lentBytes},
                    {"arenas", session.arenas},
                    {"committed_bytes", session.committedBytes},
                    {"registered_arenas", session.registeredArenas},
                    {"pinned_states", session.pinnedStates}});
  }
  return {{"sessions", list}};
}

kj::String sessionsText(kj::ArrayPtr<const SessionInfo> sessions) {
  kj::Vector<Row> rows;
  rows.add(headRow());
  for (auto& session : sessions) rows.add(rowOf(session));
  size_t widths[COLUMNS] = {};
  for (auto& row : rows) {
    for (auto i : kj::indices(row)) widths[i] = kj::max(widths[i], row[i].size());
  }
  kj::Vector<kj::String> lines;
  for (auto number : kj::indices(rows)) {
    kj::Vector<kj::String> cells;
    for (auto i : kj::indices(rows[number])) {
      auto& cell = rows[number][i];
      cells.add(kj::str(kj::repeat(' ', widths[i] - cell.size()), cell, "  "));
    }
    // The client's name is any text, from outside.
    auto client = number == 0 ? kj::str("client")
                              : previewText(sessions[number - 1].client.asBytes());
    lines.add(kj::str(kj::strArray(cells, ""), client));
  }
  return kj::strArray(lines, "\n");
}

}  // namespace ledgerctl
