// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much memory this process may use, as the kernel sees it: the default of --memory-limit.
//
// Memory of a memfd is charged to the cgroup of the process that commits it, and going over a
// cgroup's limit ends in the OOM killer like going over the machine's memory: the smaller one
// counts.

#include <kj/filesystem.h>

#include <cstdint>

namespace shm {

// 85 % of the machine's memory or of the tightest limit among the process's cgroups (v2 or v1) and
// the cgroups above them. Throws if /proc/meminfo says nothing.
// `root` is the machine's root directory; tests give one of their own.
uint64_t defaultMemoryLimit(const kj::ReadableDirectory& root);

// The parts, in bytes.
uint64_t machineMemory(const kj::ReadableDirectory& root);
kj::Maybe<uint64_t> cgroupLimit(const kj::ReadableDirectory& root);  // Null: none is set.

// What a cgroup's limit file says. Null: "max", or nothing that can be read.
kj::Maybe<uint64_t> parseCgroupLimit(kj::StringPtr content);

// A line of /proc/self/cgroup, "7:memory:/a/b" or "0::/a/b" (v2). Null: another controller's line.
struct CgroupPath {
  enum class Version { V1, V2 } version;
  kj::Path path;  // Below the controller's mount point.
};
kj::Maybe<CgroupPath> parseCgroupLine(kj::StringPtr line);

}  // namespace shm
