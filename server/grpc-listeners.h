// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where the gRPC service is reached: Unix sockets and a TCP port, as flow-go's flags name them.

#include "server/acceptor.h"
#include "server/listen-socket.h"
#include "server/tcp-listener.h"

#include <kj/array.h>
#include <kj/async-io.h>
#include <kj/string.h>
#include <kj/vector.h>

namespace ledger::server {

// Thread: its loop. Its end closes the sockets and removes their files.
class GrpcListeners final {
public:
  // Listens. A directory that a socket's path names is made if it is not there.
  GrpcListeners(kj::ArrayPtr<const kj::String> sockets, const kj::Maybe<TcpAddress>& tcp);
  KJ_DISALLOW_COPY(GrpcListeners);

  // Accepts until the promise is dropped, or a socket fails. `acceptor` outlives it.
  kj::Promise<void> acceptWith(Acceptor& acceptor) const;

private:
  kj::Maybe<TcpListener> tcp;
  kj::Vector<kj::Own<ListenSocket>> sockets;
};

}  // namespace ledger::server
