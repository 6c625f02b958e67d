// SPDX-License-Identifier: Apache-2.0
#include "shm/descriptor-limit.h"

#include <kj/debug.h>

#include <sys/resource.h>

namespace shm {

uint64_t raiseDescriptorLimit() {
  struct rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
  if (limit.rlim_cur != limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    KJ_SYSCALL(setrlimit(RLIMIT_NOFILE, &limit), limit.rlim_max);
  }
  return limit.rlim_cur;
}

}  // namespace shm
