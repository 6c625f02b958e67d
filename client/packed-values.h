// SPDX-License-Identifier: Apache-2.0
#pragma once
// The packed list of a Get's values (schema/ledger.capnp, "Packed list"), read where it lies.
//
// It may lie in memory that the server can still write, and in pieces. So every number is read
// once, and what was read is checked before it is used: whatever the server does meanwhile, a value
// never reaches outside the pieces.

#include "client/view.h"

namespace ledger::client {

// Throws if `received` is not a packed list of exactly `count` items, none across two pieces.
Values readPackedValues(Received received, size_t count);

}  // namespace ledger::client
