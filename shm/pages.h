// SPDX-License-Identifier: Apache-2.0
#pragma once
// Pages, small and huge, and where mappings must begin so that the huge ones fit into them.

#include <kj/common.h>

#include <cstdint>

namespace shm {

// The kernel's page: what is committed, mapped and sized is a multiple of it. Bytes.
uint64_t pageSize();

// Bytes; 0: this kernel has none.
uint64_t hugePageSize();

// The next multiple of `to`; must not overflow.
constexpr uint64_t roundUp(uint64_t bytes, uint64_t to) {
  return (bytes + to - 1) / to * to;
}

// Reserves addresses for a mapping of `size` bytes, in whole pages; those large enough begin where a
// huge page may. What lies there is inaccessible: map over it with MAP_FIXED, or munmap() it. Null,
// with errno: there is no room.
kj::byte* reserveAddresses(uint64_t size);

}  // namespace shm
