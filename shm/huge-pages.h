// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where mappings must begin so that huge pages fit into them.

#include <kj/common.h>

#include <cstdint>

namespace shm {

// Bytes; 0: this kernel has none.
uint64_t hugePageSize();

// Reserves addresses for a mapping of `size` bytes; those large enough begin where a huge page may.
// What lies there is inaccessible: map over it with MAP_FIXED, or munmap() it. Null, with errno:
// there is no room.
kj::byte* reserveAddresses(uint64_t size);

}  // namespace shm
