// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/memory-cgroup.h"

#include <kj/debug.h>

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ledger::testing {

namespace {

struct Place {
  std::string folder;  // The cgroup that this process is in.
  bool isVersion2;
};

// Version 1 wins where both are mounted and the memory controller is on version 1.
kj::Maybe<Place> findPlace() {
  kj::Maybe<Place> version2;
  std::ifstream in("/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const auto path = line.substr(second + 1);
    std::istringstream words(controllers);
    for (std::string word; std::getline(words, word, ',');) {
      if (word == "memory") return Place{"/sys/fs/cgroup/memory" + path, false};
    }
    if (controllers.empty()) version2 = Place{"/sys/fs/cgroup" + path, true};
  }
  return version2;
}

bool writeTo(const std::string& file, const std::string& text) {
  const int fd = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool written = write(fd, text.data(), text.size()) == ssize_t(text.size());
  close(fd);
  return written;
}

uint64_t readField(const std::string& file, const std::string& field) {
  std::ifstream in(file);
  std::string name;
  for (uint64_t number; in >> name >> number;) {
    if (name == field) return number;
  }
  return 0;
}

}  // namespace

kj::OneOf<kj::Own<MemoryCgroup>, kj::String> MemoryCgroup::create(uint64_t limit) {
  KJ_IF_MAYBE (place, findPlace()) {
    const std::string folder = place->folder + "/ledgerd-test-" + std::to_string(getpid());
    if (place->isVersion2) {
      // Refused where processes are in this cgroup itself; it may be on already.
      writeTo(place->folder + "/cgroup.subtree_control", "+memory");
    }
    if (mkdir(folder.c_str(), 0755) != 0) {
      return kj::str("cannot make ", folder.c_str(), ": ", strerror(errno));
    }
    auto group = kj::heap<MemoryCgroup>(folder, place->isVersion2);
    const std::string file =
        folder + (place->isVersion2 ? "/memory.max" : "/memory.limit_in_bytes");
    if (!writeTo(file, std::to_string(limit))) {
      return kj::str("cannot set ", file.c_str(), ": ", strerror(errno));
    }
    return kj::mv(group);
  }
  return kj::str("this process is in no memory cgroup");
}

MemoryCgroup::MemoryCgroup(std::string folder, bool isVersion2)
    : folder(kj::mv(folder)), isVersion2(isVersion2) {}

MemoryCgroup::~MemoryCgroup() {
  rmdir(folder.c_str());
}

uint64_t MemoryCgroup::oomKills() const {
  return readField(folder + (isVersion2 ? "/memory.events" : "/memory.oom_control"), "oom_kill");
}

void joinCgroup(const char* procsFile) {
  const int fd = open(procsFile, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "0", 1) != 1) _exit(126);
  close(fd);
}

}  // namespace ledger::testing
