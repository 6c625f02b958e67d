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

// A call of which messages go and come one by one. Thread: one; it outlives the channel's use.
class GrpcStream {
public:
  virtual ~GrpcStream() noexcept(false) {}
  virtual void write(kj::ArrayPtr<const kj::byte> message) = 0;
  // Null: there are no more.
  virtual kj::Maybe<kj::Array<kj::byte>> read() = 0;
  virtual void cancel() = 0;
  // Of how it ended; nothing is read or written after that.
  virtual GrpcAnswer finish() = 0;
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

  kj::Own<GrpcStream> open(const std::string& path) const;

private:
  struct Impl;
  kj::Own<Impl> impl;
};

}  // namespace ledger::testing
