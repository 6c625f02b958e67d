// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a reply brought, where it lies: in shared memory that the server wrote, or in memory of our
// own if it came inline. A view keeps its bytes there; dropping it gives a region back to the
// server. While views are held the server cannot reuse their memory: copy what is kept for long.
//
// The server can still write the shared memory under a view. One that keeps to its contract never
// does; who does not rely on that, as who verifies a proof, checks and uses a copy().
//
// A large value may lie in the server's store itself, if the connection asked for that
// (ConnectionOptions::storeViews). Once the connection is lost the server may use the place for
// other values: what was read by then counts only if isIntact() is still true after the reading.
// copy() looks itself.

#include <kj/array.h>
#include <kj/refcount.h>

namespace ledger::client {

// Whatever keeps bytes in place.
// Thread: may be dropped on any thread.
class Lease : public kj::AtomicRefcounted {
public:
  virtual ~Lease() noexcept(false) = default;

  // False once the bytes may have changed. What was read before a call that gives true is good.
  virtual bool isIntact() const { return true; }
};

enum class Place { HEAP, SHARED_MEMORY };

// A reply's bytes as they came: pieces, in order, and their lease.
struct Received {
  kj::Array<kj::ArrayPtr<const kj::byte>> pieces;
  kj::Own<const Lease> lease;
  Place place;
};

Received onHeap(kj::Array<kj::byte> bytes);

// Throws DISCONNECTED if it is not.
void requireIntact(const Lease& lease);

// The pieces' bytes, copied together.
kj::Array<kj::byte> join(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces);

// One byte string: a value or a proof.
// Thread: may be used and dropped on any thread, one at a time; may outlive its client.
class View final {
public:
  // In place if it is one piece, else copied together.
  explicit View(Received received);
  View(kj::ArrayPtr<const kj::byte> bytes, kj::Own<const Lease> lease, Place place)
      : where(bytes), lease(kj::mv(lease)), lies(place) {}
  View(View&&) = default;
  View& operator=(View&&) = default;

  kj::ArrayPtr<const kj::byte> bytes() const { return where; }  // Valid while this lives.
  size_t size() const { return where.size(); }
  // Whether bytes() hold what the server sent; to be asked after they were used.
  bool isIntact() const { return lease->isIntact(); }
  // Throws DISCONNECTED if they no longer do.
  kj::Array<kj::byte> copy() const;
  Place place() const { return lies; }

private:
  kj::ArrayPtr<const kj::byte> where;
  kj::Own<const Lease> lease;
  Place lies;
};

// Several byte strings, in the order asked for.
// Thread: may be used and dropped on any thread, one at a time; may outlive its client.
class Values final {
public:
  Values(kj::Array<kj::ArrayPtr<const kj::byte>> items, kj::Own<const Lease> lease, Place place);
  Values(Values&&) = default;
  Values& operator=(Values&&) = default;

  size_t size() const { return items.size(); }
  // An unallocated register's value is empty. Valid while this lives.
  kj::ArrayPtr<const kj::byte> operator[](size_t index) const { return items[index]; }
  bool isIntact() const { return lease->isIntact(); }  // As View's.
  // One of them, which keeps the memory of all.
  View view(size_t index) const { return View(items[index], kj::atomicAddRef(*lease), lies); }
  // Throws DISCONNECTED if they are no longer intact.
  kj::Array<kj::Array<kj::byte>> copy() const;
  Place place() const { return lies; }

private:
  kj::Array<kj::ArrayPtr<const kj::byte>> items;
  kj::Own<const Lease> lease;
  Place lies;
};

}  // namespace ledger::client
