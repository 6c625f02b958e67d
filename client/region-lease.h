// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps a region with the server, and the arenas that it lies in mapped.

#include "client/held-regions.h"
#include "client/view.h"
#include "schema/bulk.h"
#include "shm/mapped-arena.h"

namespace ledger::client {

using Mapping = kj::Own<const shm::MappedArena>;

class RegionLease final : public Lease {
public:
  // `leaseAt`, in one of `mappings`, holds `leaseValue` while the bytes are what was sent; null:
  // they never change.
  RegionLease(kj::Array<Mapping> mappings, HeldRegions& regions, rpc::Region::Client region,
              const uint64_t* leaseAt = nullptr, uint64_t leaseValue = 0)
      : mappings(kj::mv(mappings)),
        leaseAt(leaseAt),
        leaseValue(leaseValue),
        regions(kj::atomicAddRef(regions)),
        number(regions.hold(kj::mv(region))) {}
  ~RegionLease() noexcept(false) { regions->giveBack(number); }

  bool isIntact() const override {
    return leaseAt == nullptr || rpc::Lease::holds(leaseAt, leaseValue);
  }

private:
  kj::Array<Mapping> mappings;
  const uint64_t* leaseAt;
  uint64_t leaseValue;
  kj::Own<const HeldRegions> regions;
  uint64_t number;
};

}  // namespace ledger::client
