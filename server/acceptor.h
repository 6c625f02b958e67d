// SPDX-License-Identifier: Apache-2.0
#pragma once
// Accepts connections for a service that looks after descriptors by itself.

#include <kj/async-io.h>
#include <kj/function.h>
#include <kj/io.h>
#include <kj/vector.h>

#include <cstdint>

#include <sys/types.h>

namespace ledger::server {

// Thread: its loop.
class Acceptor final {
public:
  // `serve` gets each connection, its descriptor non-blocking. Above `most` that are open at a time
  // it gets no more: they are closed at once.
  Acceptor(kj::AsyncIoContext& io, uint32_t most, kj::Function<void(kj::AutoCloseFd)> serve)
      : io(io), most(most), serve(kj::mv(serve)) {}
  KJ_DISALLOW_COPY(Acceptor);

  // Accepts from a listening socket, non-blocking, some at a time with the loop's other work
  // between them, until the promise is dropped or the socket
  // fails. Several sockets may be accepted from.
  kj::Promise<void> acceptFrom(kj::AutoCloseFd listener);

private:
  struct Listener;
  kj::Promise<void> acceptAll(Listener& listener);
  void admit(kj::AutoCloseFd connection);

  // A connection that was handed over. Nobody tells when it is closed: another file has its
  // descriptor then, or none.
  struct Open {
    int fd;
    ino_t inode;
  };
  void forgetClosed();
  void refuse();

  kj::AsyncIoContext& io;
  const uint32_t most;
  kj::Function<void(kj::AutoCloseFd)> serve;
  kj::Vector<Open> open;

  bool hasLooked = false;  // For closed ones, in this turn.
  // Refusals since they were last told, and when that was.
  uint32_t refusals = 0;
  kj::Maybe<kj::TimePoint> toldAt;
};

}  // namespace ledger::server
