// SPDX-License-Identifier: Apache-2.0
#include "client/view.h"

#include <kj/debug.h>

#include <cstring>

namespace ledger::client {
namespace {

class HeapLease final : public Lease {
public:
  explicit HeapLease(kj::Array<kj::byte> bytes) : bytes(kj::mv(bytes)) {}

private:
  kj::Array<kj::byte> bytes;
};

}  // namespace

Received onHeap(kj::Array<kj::byte> bytes) {
  auto pieces = kj::heapArray<kj::ArrayPtr<const kj::byte>>({bytes.asPtr()});
  return {kj::mv(pieces), kj::atomicRefcounted<HeapLease>(kj::mv(bytes)), Place::HEAP};
}

kj::Array<kj::byte> join(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) {
  size_t size = 0;
  for (auto piece : pieces) size += piece.size();
  auto whole = kj::heapArray<kj::byte>(size);
  auto to = whole.begin();
  for (auto piece : pieces) {
    if (piece.size() > 0) memcpy(to, piece.begin(), piece.size());
    to += piece.size();
  }
  return whole;
}

void requireIntact(const Lease& lease) {
  if (lease.isIntact()) return;
  kj::throwFatalException(KJ_EXCEPTION(
      DISCONNECTED, "the server has taken back the memory of a value: the connection was lost"));
}

View::View(Received received) {
  if (received.pieces.size() != 1) {
    auto joined = onHeap(join(received.pieces));
    requireIntact(*received.lease);
    received = kj::mv(joined);
  }
  where = received.pieces[0];
  lease = kj::mv(received.lease);
  lies = received.place;
}

kj::Array<kj::byte> View::copy() const {
  auto result = kj::heapArray(where);
  requireIntact(*lease);
  return result;
}

Values::Values(kj::Array<kj::ArrayPtr<const kj::byte>> items, kj::Own<const Lease> lease,
               Place place)
    : items(kj::mv(items)), lease(kj::mv(lease)), lies(place) {}

kj::Array<kj::Array<kj::byte>> Values::copy() const {
  auto result = KJ_MAP(item, items) {
    return kj::heapArray(item);
  };
  requireIntact(*lease);
  return result;
}

}  // namespace ledger::client
