// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/output.h"

#include "ledger/encoding.h"
#include "tools/ledgerctl/key-text.h"
#include "tools/ledgerctl/text.h"

#include <kj/io.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace ledgerctl {
namespace {

// 0, or the error number.
int writeAll(int fd, kj::ArrayPtr<const kj::byte> bytes) {
  while (bytes.size() > 0) {
    auto written = write(fd, bytes.begin(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes = bytes.slice(written, bytes.size());
  }
  return 0;
}

ExitCode toStandardOutput(kj::ArrayPtr<const kj::byte> bytes) {
  int error = writeAll(STDOUT_FILENO, bytes);
  if (error == 0) return ExitCode::OK;
  fprintf(stderr, "ledgerctl: cannot write to standard output: %s\n", strerror(error));
  return ExitCode::INTERNAL;
}

}  // namespace

Json hexJson(kj::ArrayPtr<const kj::byte> bytes) {
  return toHex(bytes).cStr();
}

Json keyJson(ledger::EncodedKey key) {
  auto decoded = ledger::decodeKey(key);
  if (decoded.is<ledger::Error>()) return hexJson(key);
  auto parts = Json::array();
  for (auto& part : decoded.get<kj::Array<ledger::KeyPart>>()) {
    parts.push_back({{"type", part.type}, {"value", hexJson(part.value)}});
  }
  return parts;
}

std::string jsonText(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ExitCode Output::line(kj::StringPtr text) {
  return toStandardOutput(kj::str(text, "\n").asBytes());
}

ExitCode Output::object(const Json& json) {
  return line(jsonText(json).c_str());
}

ExitCode Output::bytes(kj::ArrayPtr<const kj::byte> bytes) {
  return toStandardOutput(bytes);
}

ExitCode Output::fail(ExitCode code, kj::StringPtr message) {
  auto text = isJson() ? jsonText({{"error", {{"message", message.cStr()}}}})
                       : std::string("ledgerctl: ") + message.cStr();
  fprintf(stderr, "%s\n", text.c_str());
  return code;
}

ExitCode Output::refuse(const ledger::Error& error, ExitCode code) {
  if (!isJson()) {
    if (error.reason == ledger::Reason::UNSPECIFIED) return fail(code, error.message);
    return fail(code, kj::str(error.message, " (", reasonName(error.reason), ")"));
  }
  Json json = {{"error",
                {{"code", codeName(error.code).cStr()},
                 {"reason", reasonName(error.reason).cStr()},
                 {"message", error.message.cStr()}}}};
  fprintf(stderr, "%s\n", jsonText(json).c_str());
  return code;
}

kj::Maybe<kj::String> writeFile(const std::string& path, kj::ArrayPtr<const kj::byte> bytes) {
  auto failure = [&](kj::StringPtr what, int error) {
    return kj::str("cannot ", what, " ", path.c_str(), ": ", strerror(error));
  };
  struct stat existing;
  bool replaced = stat(path.c_str(), &existing) != 0 || S_ISREG(existing.st_mode);
  // A device or a pipe is written to; a file is made beside its place and put there when whole.
  auto target = replaced ? path + ".part" : path;
  int flags = O_WRONLY | O_CLOEXEC | (replaced ? O_CREAT | O_TRUNC : 0);
  int fd = open(target.c_str(), flags, 0666);
  if (fd < 0) return failure("open", errno);
  kj::AutoCloseFd file(fd);
  if (int error = writeAll(file, bytes)) {
    if (replaced) unlink(target.c_str());
    return failure("write", error);
  }
  if (replaced && rename(target.c_str(), path.c_str()) != 0) return failure("write", errno);
  return nullptr;
}

}  // namespace ledgerctl
