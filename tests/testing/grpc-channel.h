// SPDX-License-Identifier: Apache-2.0
#pragma once
// A gRPC client that knows no messages: bytes go, and bytes or a status come back.

#include <kj/array.h>
#include <kj/common.h>
#include <kj/memory.h>
#include <kj/time.h>

#include <string>

namespace ledger::testing {

struct GrpcAnswer {
  int code;  // 0: `response` is the answer.
  std::string message;
  kj::Array<kj::byte> response;
};

struct GrpcCallOptions {
  kj::Maybe<kj::Duration> deadline;
  enum class Compression { NONE, GZIP } compression = Compression::NONE;
};

// One connection, made with the first call. Thread: any; a call waits for its answer.
class GrpcChannel final {
public:
  // "unix:/path/of/socket" or "127.0.0.1:9000".
  explicit GrpcChannel(const std::string& target);
  ~GrpcChannel() noexcept(false);
  KJ_DISALLOW_COPY(GrpcChannel);

  // `path` is "/package.Service/Method".
  GrpcAnswer call(const std::string& path, kj::ArrayPtr<const kj::byte> request,
                  const GrpcCallOptions& options = {}) const;

private:
  struct Impl;
  kj::Own<Impl> impl;
};

}  // namespace ledger::testing
