// SPDX-License-Identifier: Apache-2.0
#pragma once
// The Region capabilities that a connection's views hold.
//
// A capability belongs to its event loop, a view to whoever has it. So the capabilities stay here,
// and a view holds a number: dropping it, on any thread, has the loop drop the capability, which
// gives the region back to the server.

#include "schema/ledger.capnp.h"

#include <kj/async.h>
#include <kj/mutex.h>
#include <kj/refcount.h>
#include <kj/vector.h>

#include <thread>
#include <unordered_map>

namespace ledger::client {

// Thread: hold() and close() on the thread that made it; giveBack() on any.
class HeldRegions final : public kj::AtomicRefcounted {
public:
  HeldRegions();
  ~HeldRegions() noexcept(false);

  uint64_t hold(rpc::Region::Client region);
  void giveBack(uint64_t number) const;

  // Drops all capabilities: the connection is ending. Views stay readable; giving back does
  // nothing.
  void close();

private:
  struct Returned {
    kj::Vector<uint64_t> numbers;
    // Tells the loop; null while it has been told, and once closed.
    kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>> wake;
    bool closed = false;
  };

  kj::Promise<void> drain();

  const std::thread::id loopThread;
  mutable std::unordered_map<uint64_t, rpc::Region::Client> held;  // The loop's own.
  uint64_t next = 0;                                               // The loop's own.
  kj::MutexGuarded<Returned> returned;
  kj::Maybe<kj::Promise<void>> draining;
};

}  // namespace ledger::client
