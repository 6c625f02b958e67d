// SPDX-License-Identifier: Apache-2.0
#pragma once
// One state of the ledger, read in the server's store itself: a register without a call.
//
// A view keeps its state with the server, unless memory is short: then the server takes back what
// was evicted. So what was read counts only if standing(), asked afterwards, is not TAKEN_BACK.
//
// The server is not believed more than it has to be: every reference and length is checked against
// what is mapped, and a descent has an end, whatever the store holds.
//
// Source of the layout: ledger/trie/format.h; docs/formats.md, "Store segments".

#include "client/view.h"
#include "ledger/error.h"
#include "ledger/model.h"
#include "ledger/trie/format.h"

#include <kj/array.h>
#include <kj/refcount.h>

#include <atomic>

namespace ledger::client {

// Whether a connection is lost: what its views need to know of it.
struct ConnectionEnd final : public kj::AtomicRefcounted {
  mutable std::atomic<bool> lost{false};
};

// Thread: every method is const and may be called from any thread; may be dropped on any thread,
// and outlive its client.
class StateView final : public Lease {
public:
  // Memory of the server, mapped. Null and zero: there is no such segment.
  struct Segment {
    const kj::byte* begin = nullptr;
    uint64_t size = 0;  // Bytes.
  };
  struct Store {
    uint64_t root;                       // A NodeRef, as the server sent it.
    kj::Array<Segment> nodes, payloads;  // By number.
    const uint64_t* evictions;           // As schema/ledger.capnp, StateView.
    uint64_t evictedAbove;
  };

  // `lease` keeps all that `store` points at mapped, and knows whether it is intact.
  StateView(const RootHash& state, Store store, kj::Own<const Lease> lease,
            kj::Own<const ConnectionEnd> connection)
      : root(state), store(kj::mv(store)), lease(kj::mv(lease)), connection(kj::mv(connection)) {}

  const RootHash& state() const { return root; }

  enum class Standing {
    CURRENT,    // The server, if asked, would answer the same.
    EVICTED,    // It would not know the state; the view still does.
    TAKEN_BACK  // The memory may have come to hold something else, or the server is gone.
  };
  // What was read before the call counts unless it is TAKEN_BACK.
  Standing standing() const;

  // A register's value, copied; empty if it is not allocated. Errors: BAD_KEY, TOO_LARGE (the key),
  // and UNAVAILABLE if the view no longer holds: ask the server. Throws FAILED if the store makes
  // no sense.
  Result<kj::Array<kj::byte>> read(EncodedKey key) const;
  // In the order of the keys. Many at once are several times as fast as one after the other.
  Result<kj::Array<kj::Array<kj::byte>>> read(kj::ArrayPtr<const EncodedKey> keys) const;

  // Where values lie, to be used or copied before standing() is asked. False: the store makes no
  // sense, which a view that was taken back need not.
  bool find(const Path& path, Value& out) const;
  bool find(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<Value> out) const;

  // Of values that are used in place.
  bool isIntact() const override { return standing() != Standing::TAKEN_BACK; }

private:
  bool valueOf(PayloadRef record, const Path& path, Value& out) const;

  const RootHash root;
  const Store store;
  const kj::Own<const Lease> lease;
  const kj::Own<const ConnectionEnd> connection;
};

}  // namespace ledger::client
