// SPDX-License-Identifier: Apache-2.0
#include "server/process-figures.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>

#include <sys/resource.h>
#include <unistd.h>

namespace ledger::server {
namespace {

double seconds(const timeval& time) { return double(time.tv_sec) + double(time.tv_usec) / 1e6; }

// In ticks after the machine's start: the 22nd field, of which the second, a name in brackets, may
// hold anything.
double startTicks() {
  std::ifstream file("/proc/self/stat");
  file.ignore(std::numeric_limits<std::streamsize>::max(), ')');
  std::string field;
  for (int number = 3; number <= 21; ++number) file >> field;
  double ticks = 0;
  file >> ticks;
  return ticks;
}

double machineStart() {
  std::ifstream file("/proc/stat");
  for (std::string name; file >> name;) {
    double value = 0;
    if (name == "btime" && file >> value) return value;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace

ProcessFigures processFigures() {
  ProcessFigures figures{};
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    figures.cpuSeconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  }
  std::error_code error;
  for (std::filesystem::directory_iterator fd("/proc/self/fd", error), end; !error && fd != end;
       fd.increment(error)) {
    ++figures.openDescriptors;
  }
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) figures.mostDescriptors = limit.rlim_cur;
  uint64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  const uint64_t page = sysconf(_SC_PAGESIZE);
  figures.virtualBytes = total * page;
  figures.residentBytes = resident * page;
  static const double START = machineStart() + startTicks() / double(sysconf(_SC_CLK_TCK));
  figures.startSeconds = START;
  return figures;
}

}  // namespace ledger::server
