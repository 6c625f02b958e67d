// SPDX-License-Identifier: Apache-2.0
#pragma once
// A TCP port that clients connect to.

#include <kj/common.h>
#include <kj/io.h>
#include <kj/string.h>

#include <cstdint>

namespace ledger::server {

struct TcpAddress {
  kj::String host;  // A name, or an address without brackets; empty: all of the machine's.
  uint16_t port;    // 0: any that is free.
};

// "HOST:PORT", ":PORT" or "[ADDRESS]:PORT". Null: it is none of them.
kj::Maybe<TcpAddress> parseTcpAddress(kj::StringPtr text);

class TcpListener final {
public:
  // Binds and listens. Throws, with the address and the reason, if that is refused.
  explicit TcpListener(const TcpAddress& address);
  KJ_DISALLOW_COPY(TcpListener);

  // Another descriptor of the same socket, non-blocking.
  kj::AutoCloseFd open() const;

  // Where it listens, with the port that it has: "127.0.0.1:9000".
  kj::StringPtr address() const { return name; }
  uint16_t port() const { return number; }

private:
  kj::AutoCloseFd fd;
  kj::String name;
  uint16_t number;
};

}  // namespace ledger::server
