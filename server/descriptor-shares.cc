// SPDX-License-Identifier: Apache-2.0
#include "server/descriptor-shares.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

// A session that has so many lacks nothing; with fewer descriptors there are fewer sessions.
constexpr uint64_t AMPLE = 256;
constexpr uint64_t LEAST_SESSIONS = 8;

// More than these nobody needs.
constexpr uint64_t MOST_SESSIONS = 1024;
constexpr uint64_t MOST_CONNECTIONS = 1024;
constexpr uint64_t MOST_REPLY_ARENAS = 128;
constexpr uint64_t MOST_OPEN_ARENAS = 1024;
constexpr uint64_t MOST_REGISTERED_ARENAS = 256;

uint32_t atMost(uint64_t value, uint64_t most) {
  return kj::min(value, most);
}

}  // namespace

DescriptorShares shareDescriptors(uint64_t descriptors, uint32_t loops) {
  KJ_REQUIRE(descriptors >= LEAST_DESCRIPTORS,
             "too few descriptors: raise the limit (ulimit -Hn, systemd's LimitNOFILE)",
             descriptors, LEAST_DESCRIPTORS);
  const uint64_t shared = descriptors - RESERVED_DESCRIPTORS;
  const uint64_t sessions = kj::min(kj::max(shared / AMPLE, LEAST_SESSIONS), MOST_SESSIONS);
  // Three kinds for each session; the connections of all take the fourth quarter.
  const uint64_t quarter = shared / sessions / 4;
  return {.sessions = atMost(sessions, MOST_SESSIONS),
          .connections = atMost(quarter * sessions / loops, MOST_CONNECTIONS),
          .replyArenas = atMost(quarter, MOST_REPLY_ARENAS),
          .openArenas = atMost(quarter, MOST_OPEN_ARENAS),
          .registeredArenas = atMost(quarter, MOST_REGISTERED_ARENAS)};
}

}  // namespace ledger::server
