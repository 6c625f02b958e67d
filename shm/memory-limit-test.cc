// SPDX-License-Identifier: Apache-2.0
#include "shm/memory-limit.h"

#include <kj/debug.h>

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <string>

namespace shm {
namespace {

constexpr uint64_t GIB = uint64_t(1) << 30;
constexpr const char* MEMINFO = "MemTotal:       8388608 kB\nMemFree:        1 kB\n";  // 8 GiB.

kj::Own<kj::Directory> machine(std::map<std::string, std::string> files) {
  auto root = kj::newInMemoryDirectory(kj::nullClock());
  for (auto& [path, content] : files) {
    root->openFile(kj::Path::parse(path.c_str()),
                   kj::WriteMode::CREATE | kj::WriteMode::CREATE_PARENT)
        ->writeAll(kj::StringPtr(content.c_str()));
  }
  return root;
}

TEST(MemoryLimit, IsAShareOfTheMachineWithoutCgroups) {
  auto root = machine({{"proc/meminfo", MEMINFO}});
  EXPECT_EQ(machineMemory(*root), 8 * GIB);
  EXPECT_TRUE(cgroupLimit(*root) == nullptr);
  EXPECT_EQ(defaultMemoryLimit(*root), 8 * GIB / 100 * 85);
}

// Catches a limit that is set on a cgroup above ours, where a container or slice has it.
TEST(MemoryLimit, IsTheTightestAmongTheCgroupsAbove) {
  auto root = machine({{"proc/meminfo", MEMINFO},
                       {"proc/self/cgroup", "0::/a.slice/b.service\n"},
                       {"sys/fs/cgroup/a.slice/memory.max", "1073741824\n"},
                       {"sys/fs/cgroup/a.slice/b.service/memory.max", "max\n"}});
  EXPECT_EQ(KJ_ASSERT_NONNULL(cgroupLimit(*root)), GIB);
  EXPECT_EQ(defaultMemoryLimit(*root), GIB / 100 * 85);
}

TEST(MemoryLimit, ReadsVersion1AndHybridTrees) {
  auto one = machine({{"proc/self/cgroup", "5:cpu:/x\n4:hugetlb,memory:/docker/abc\n"},
                      {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"},
                      {"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912\n"}});
  EXPECT_EQ(KJ_ASSERT_NONNULL(cgroupLimit(*one)), GIB / 2);

  auto hybrid = machine({{"proc/self/cgroup", "4:memory:/m\n0::/u"},
                         {"sys/fs/cgroup/memory/m/memory.limit_in_bytes", "2147483648"},
                         {"sys/fs/cgroup/unified/u/memory.max", "1073741824\n"}});
  EXPECT_EQ(KJ_ASSERT_NONNULL(cgroupLimit(*hybrid)), GIB);
}

// In a container the path is often the host's: what is mounted is the container's own cgroup.
TEST(MemoryLimit, FallsBackToTheMountPoint) {
  for (const char* line : {"0::/host/path\n", "0::/../../other\n", "0::/\n"}) {
    auto root = machine({{"proc/meminfo", MEMINFO},
                         {"proc/self/cgroup", line},
                         {"sys/fs/cgroup/memory.max", "2147483648\n"}});
    EXPECT_EQ(KJ_ASSERT_NONNULL(cgroupLimit(*root)), 2 * GIB) << line;
  }
}

// "No limit" is a huge number in version 1: the machine's memory stays the limit.
TEST(MemoryLimit, IsNeverMoreThanTheMachine) {
  auto root = machine({{"proc/meminfo", MEMINFO},
                       {"proc/self/cgroup", "1:memory:/\n"},
                       {"sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"}});
  EXPECT_EQ(defaultMemoryLimit(*root), 8 * GIB / 100 * 85);
}

TEST(MemoryLimit, AsksForTheFlagWhenTheMachineSaysNothing) {
  for (const char* text :
       {"", "MemFree: 5 kB\n", "MemTotal: kB\n", "MemTotal: 0 kB\n",
        "MemTotal: 18446744073709551615 kB\n", "MemTotal: 99999999999999999999999 kB\n"}) {
    EXPECT_THROW(machineMemory(*machine({{"proc/meminfo", text}})), kj::Exception) << text;
  }
  EXPECT_THROW(machineMemory(*machine({})), kj::Exception);
}

TEST(MemoryLimit, ParsesLimitFilesStrictly) {
  EXPECT_EQ(KJ_ASSERT_NONNULL(parseCgroupLimit("0\n")), 0u);
  EXPECT_EQ(KJ_ASSERT_NONNULL(parseCgroupLimit("18446744073709551615")),
            std::numeric_limits<uint64_t>::max());
  for (const char* text : {"", "\n", "max\n", "max", "-1\n", " 5\n", "5 \n", "5x", "5\n6\n", "0x5",
                           "18446744073709551616\n"}) {
    EXPECT_TRUE(parseCgroupLimit(text) == nullptr) << text;
  }
}

TEST(MemoryLimit, ParsesCgroupLines) {
  using Version = CgroupPath::Version;
  auto two = KJ_ASSERT_NONNULL(parseCgroupLine("0::/a//b:c/"));
  EXPECT_EQ(two.version, Version::V2);
  EXPECT_EQ(two.path.toString(), "a/b:c");
  auto one = KJ_ASSERT_NONNULL(parseCgroupLine("12:cpu,memory:/x"));
  EXPECT_EQ(one.version, Version::V1);
  EXPECT_EQ(one.path.toString(), "x");
  EXPECT_EQ(KJ_ASSERT_NONNULL(parseCgroupLine("0::/../x")).path.size(), 0u);
  for (const char* line : {"", "x", "0:", "1::/a", "9:name=systemd:/", "3:memoryless:/a", "::"}) {
    EXPECT_TRUE(parseCgroupLine(line) == nullptr) << line;
  }
}

// On whatever machine this runs: the files are where we look for them and are read whole.
TEST(MemoryLimit, FindsAPlausibleLimitHere) {
  auto fileSystem = kj::newDiskFilesystem();
  const uint64_t limit = defaultMemoryLimit(fileSystem->getRoot());
  EXPECT_GE(limit, uint64_t(16) << 20);
  EXPECT_LE(limit, machineMemory(fileSystem->getRoot()));
}

}  // namespace
}  // namespace shm
