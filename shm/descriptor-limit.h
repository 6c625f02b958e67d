// SPDX-License-Identifier: Apache-2.0
#pragma once
// How many descriptors this process may have: every arena, store segment and connection is one.

#include <cstdint>

namespace shm {

// Raises the soft limit (RLIMIT_NOFILE) to the hard one; returns what it is then.
// Not with select() in the process: it cannot take descriptors from 1,024 up.
uint64_t raiseDescriptorLimit();

}  // namespace shm
