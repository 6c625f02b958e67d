// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/files.h"

#include <kj/io.h>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>

namespace ledgerctl {
namespace {

Parsed<kj::AutoCloseFd> open(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return BadText{kj::str("cannot open the directory ", path.c_str(), ": ", strerror(errno))};
  }
  return kj::AutoCloseFd(fd);
}

}  // namespace

Parsed<kj::Own<const kj::ReadableDirectory>> openDirectory(const std::string& path) {
  auto fd = open(path);
  KJ_IF_MAYBE (bad, fd.tryGet<BadText>()) return kj::mv(*bad);
  return kj::Own<const kj::ReadableDirectory>(
      kj::newDiskReadableDirectory(kj::mv(fd.get<kj::AutoCloseFd>())));
}

Parsed<kj::Own<const kj::Directory>> openDirectoryForWriting(const std::string& path) {
  auto fd = open(path);
  KJ_IF_MAYBE (bad, fd.tryGet<BadText>()) return kj::mv(*bad);
  return kj::Own<const kj::Directory>(kj::newDiskDirectory(kj::mv(fd.get<kj::AutoCloseFd>())));
}

SplitPath splitPath(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

Parsed<CheckpointFile> openCheckpointFile(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) {
    return BadText{kj::str("cannot open ", path.c_str(), ": ", strerror(errno))};
  }
  if (!S_ISREG(status.st_mode)) {
    return BadText{kj::str(path.c_str(),
                           " is not a file: name the checkpoint's header, such as "
                           "DIR/checkpoint.00000007")};
  }
  auto split = splitPath(path);
  auto directory = openDirectory(split.directory);
  KJ_IF_MAYBE (bad, directory.tryGet<BadText>()) return kj::mv(*bad);
  return CheckpointFile{kj::mv(directory.get<kj::Own<const kj::ReadableDirectory>>()),
                        kj::str(split.name.c_str())};
}

}  // namespace ledgerctl
