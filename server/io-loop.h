// SPDX-License-Identifier: Apache-2.0
#pragma once
// A thread with an event loop that serves its share of the clients.

#include "server/capnp-service.h"
#include "server/host.h"

#include <kj/async.h>
#include <kj/io.h>
#include <kj/mutex.h>
#include <kj/thread.h>
#include <kj/time.h>
#include <kj/vector.h>

namespace ledger::server {

class IoLoop final {
public:
  // Sockets that listen, non-blocking. They may be shared with other loops.
  struct Listeners {
    struct Clients {
      kj::AutoCloseFd socket;
      SocketTerms terms;  // Its paths outlive the loop.
    };
    kj::Vector<Clients> clients;
    kj::Vector<kj::AutoCloseFd> handOvers;
  };

  // `onFailure` is called in the loop's thread if the loop ends by an exception. `host` outlives it.
  IoLoop(const Host& host, Listeners listeners, kj::Duration shutdownTimeout,
         kj::Function<void(const kj::Exception&)> onFailure);

  // Stops and waits until the thread has ended.
  ~IoLoop() noexcept(false);
  KJ_DISALLOW_COPY(IoLoop);

  // Accepts no more; lets calls in flight finish, for as long as the timeout says; ends. May be
  // called from any thread, and more than once.
  void stop() const;

private:
  void run(const Host& host, Listeners listeners, kj::Duration shutdownTimeout) const;

  struct State {
    bool stopping = false;
    kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>> stopper;  // Null until it runs.
  };
  kj::MutexGuarded<State> state;
  kj::Own<kj::Thread> thread;  // Last: it uses the above.
};

}  // namespace ledger::server
