// SPDX-License-Identifier: Apache-2.0
#pragma once
// A memory cgroup of a test's own, below the one that the test is in.

#include <kj/memory.h>
#include <kj/one-of.h>
#include <kj/string.h>

#include <string>

namespace ledger::testing {

// Thread: one.
class MemoryCgroup final {
public:
  // With a limit in bytes; or why none can be made here (no permission, no controller).
  static kj::OneOf<kj::Own<MemoryCgroup>, kj::String> create(uint64_t limit);

  // Removes it; its processes must have ended.
  ~MemoryCgroup();
  KJ_DISALLOW_COPY(MemoryCgroup);

  // To write "0" into, by the process that wants to be in it.
  std::string procsFile() const { return folder + "/cgroup.procs"; }

  // How often the kernel's OOM killer has ended a process in it.
  uint64_t oomKills() const;

  MemoryCgroup(std::string folder, bool isVersion2);  // Use create().

private:
  const std::string folder;
  const bool isVersion2;
};

// For LedgerdOptions::inChild: puts the calling process into the cgroup with this procs file.
// Async-signal-safe.
void joinCgroup(const char* procsFile);

}  // namespace ledger::testing
