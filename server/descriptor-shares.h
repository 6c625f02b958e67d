// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the process's descriptors are shared out, so that no client can take those that the ledger
// needs for its files and its store's segments.

#include <cstdint>

namespace ledger::server {

// Kept for the ledger and for the process itself.
constexpr uint64_t RESERVED_DESCRIPTORS = 256;

// With fewer there would be no room for clients worth serving.
constexpr uint64_t LEAST_DESCRIPTORS = 512;

// The most of each. If all are used up, the reserve is still there.
struct DescriptorShares {
  uint32_t sessions;
  uint32_t connections;       // Of one loop.
  uint32_t replyArenas;       // Of one session, as the next two.
  uint32_t openArenas;        // Descriptors that its client holds.
  uint32_t registeredArenas;  // Of its client's memory.
};

// Throws if there are less than LEAST_DESCRIPTORS. `loops` is 1 to 64.
DescriptorShares shareDescriptors(uint64_t descriptors, uint32_t loops);

}  // namespace ledger::server
