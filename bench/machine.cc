// SPDX-License-Identifier: Apache-2.0
#include "bench/machine.h"

#include "ledger/hash/hash-kernel.h"
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

#include <fstream>
#include <string>

#include <sched.h>
#include <sys/utsname.h>

namespace ledger::bench {
namespace {

kj::String cpuModel() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return kj::str(line.substr(line.find(":") + 2).c_str());
  }
  return kj::str("unknown");
}

}  // namespace

Machine describeMachine() {
  utsname system;
  KJ_SYSCALL(uname(&system));
  cpu_set_t allowed;
  KJ_SYSCALL(sched_getaffinity(0, sizeof(allowed), &allowed));
  return {
      .cpu = cpuModel(),
      .kernel = kj::str(system.sysname, " ", system.release),
      .processors = unsigned(CPU_COUNT(&allowed)),
      .hash = hash::nameOf(hash::hashKernel()),
      .crc32c = haveCrc32cInstruction() ? "instruction"_kj : "table"_kj,
  };
}

}  // namespace ledger::bench
