// SPDX-License-Identifier: Apache-2.0
#include "shm/memory-limit.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <charconv>
#include <cstring>
#include <limits>

namespace shm {
namespace {

constexpr uint64_t PERCENT_BY_DEFAULT = 85;

// Where the memory controller is mounted. V2 alone, or beside V1 controllers ("hybrid").
constexpr kj::StringPtr V1_MOUNT = "sys/fs/cgroup/memory"_kj;
constexpr kj::StringPtr V2_MOUNTS[] = {"sys/fs/cgroup"_kj, "sys/fs/cgroup/unified"_kj};

// Files of /proc and /sys say that their size is 0: read until a read ends short.
kj::Maybe<kj::String> readWhole(const kj::ReadableDirectory& root, kj::PathPtr path) {
  KJ_IF_MAYBE (file, root.tryOpenFile(path)) {
    kj::Vector<char> text;
    for (;;) {
      kj::byte buffer[4096];
      const size_t count = (*file)->read(text.size(), buffer);
      text.addAll(reinterpret_cast<char*>(buffer), reinterpret_cast<char*>(buffer) + count);
      if (count == 0) break;
    }
    return kj::heapString(text.begin(), text.size());
  }
  return nullptr;
}

template <typename Function>
void forEachLine(kj::StringPtr text, Function&& function) {
  while (text.size() > 0) {
    KJ_IF_MAYBE (end, text.findFirst('\n')) {
      function(kj::str(text.slice(0, *end)));
      text = text.slice(*end + 1);
    } else {
      function(kj::str(text));
      return;
    }
  }
}

// The leading digits of `text`. Null: there are none, or the number needs more than 64 bits.
kj::Maybe<uint64_t> parseNumber(kj::StringPtr text) {
  uint64_t value;
  auto [end, error] = std::from_chars(text.begin(), text.end(), value);
  if (error != std::errc()) return nullptr;
  return value;
}

void lower(kj::Maybe<uint64_t>& least, kj::Maybe<uint64_t> limit) {
  KJ_IF_MAYBE (value, limit) {
    least = kj::min(*value, least.orDefault(*value));
  }
}

// The limit of the cgroup and of every one above it, up to the mount point. Inside a container the
// path may be the host's, of which only the mount point exists.
void lowerFrom(const kj::ReadableDirectory& root, kj::StringPtr mount, kj::StringPtr file,
               const kj::Path& path, kj::Maybe<uint64_t>& least) {
  for (size_t depth = 0; depth <= path.size(); ++depth) {
    auto limitFile =
        kj::Path::parse(mount).append(path.slice(0, depth)).append(kj::Path(kj::str(file)));
    KJ_IF_MAYBE (content, readWhole(root, limitFile)) {
      lower(least, parseCgroupLimit(*content));
    }
  }
}

}  // namespace

uint64_t defaultMemoryLimit(const kj::ReadableDirectory& root) {
  uint64_t bytes = machineMemory(root);
  KJ_IF_MAYBE (limit, cgroupLimit(root)) {
    bytes = kj::min(bytes, *limit);
  }
  return bytes / 100 * PERCENT_BY_DEFAULT;
}

uint64_t machineMemory(const kj::ReadableDirectory& root) {
  kj::Maybe<uint64_t> kibibytes;
  KJ_IF_MAYBE (text, readWhole(root, kj::Path({"proc", "meminfo"}))) {
    forEachLine(*text, [&](kj::StringPtr line) {
      constexpr kj::StringPtr LABEL = "MemTotal:"_kj;
      if (!line.startsWith(LABEL)) return;
      const char* digits = line.cStr() + LABEL.size();
      digits += strspn(digits, " \t");
      kibibytes = parseNumber(digits);
    });
  }
  KJ_IF_MAYBE (count, kibibytes) {
    if (*count > 0 && *count <= std::numeric_limits<uint64_t>::max() / 1024) return *count * 1024;
  }
  KJ_FAIL_REQUIRE("/proc/meminfo does not say how much memory there is: give --memory-limit");
}

kj::Maybe<uint64_t> cgroupLimit(const kj::ReadableDirectory& root) {
  kj::Maybe<uint64_t> least;
  KJ_IF_MAYBE (text, readWhole(root, kj::Path({"proc", "self", "cgroup"}))) {
    forEachLine(*text, [&](kj::StringPtr line) {
      KJ_IF_MAYBE (cgroup, parseCgroupLine(line)) {
        if (cgroup->version == CgroupPath::Version::V1) {
          lowerFrom(root, V1_MOUNT, "memory.limit_in_bytes", cgroup->path, least);
          return;
        }
        for (auto mount : V2_MOUNTS) lowerFrom(root, mount, "memory.max", cgroup->path, least);
      }
    });
  }
  return least;
}

kj::Maybe<uint64_t> parseCgroupLimit(kj::StringPtr content) {
  KJ_IF_MAYBE (value, parseNumber(content)) {
    const char* rest = content.cStr() + strspn(content.cStr(), "0123456789");
    if (*rest == '\0' || (rest[0] == '\n' && rest[1] == '\0')) return *value;
  }
  return nullptr;
}

kj::Maybe<CgroupPath> parseCgroupLine(kj::StringPtr line) {
  KJ_IF_MAYBE (first, line.findFirst(':')) {
    auto rest = line.slice(*first + 1);
    KJ_IF_MAYBE (second, rest.findFirst(':')) {
      // V1 lists the controllers of a hierarchy with commas; V2 has none and is hierarchy 0.
      auto controllers = kj::str(",", rest.slice(0, *second), ",");
      const bool isV2 = controllers == ",,"_kj && line.startsWith("0:");
      if (!isV2 && strstr(controllers.cStr(), ",memory,") == nullptr) return nullptr;

      CgroupPath result{isV2 ? CgroupPath::Version::V2 : CgroupPath::Version::V1, nullptr};
      auto path = rest.slice(*second + 1);
      // A process outside of its cgroup namespace's root sees "/../..": only the mount point is
      // left.
      kj::Vector<kj::String> parts;
      for (const char* at = path.cStr(); *at != '\0';) {
        const size_t length = strcspn(at, "/");
        if (length == 2 && at[0] == '.' && at[1] == '.') return kj::mv(result);
        if (length > 0) parts.add(kj::heapString(at, length));
        at += length + (at[length] == '/' ? 1 : 0);
      }
      result.path = kj::Path(parts.releaseAsArray());
      return kj::mv(result);
    }
  }
  return nullptr;
}

}  // namespace shm
