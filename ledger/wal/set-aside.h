// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gives up the end of a damaged log, because its operator says so: what is behind the damage keeps
// its bytes under names that no ledger reads.

#include "ledger/wal/reader.h"
#include "ledger/wal/torn-tail.h"

#include <kj/filesystem.h>

namespace ledger {

struct SetAside {
  TornTail cut;                   // Of the segment that the damage is in.
  kj::Array<kj::String> renamed;  // The segments behind it, by their new names.
};

// Renames the segments behind the damage to "damaged-<segment>.bak" (a number is added if that
// exists), the last one first, then cuts the damaged one as cutTornTail() does. On return all of it
// is on disk. `segments` are all that the directory has. Under the directory's lock. If it throws, or
// the process dies, it can be done again.
SetAside setAside(const kj::Directory& directory, kj::ArrayPtr<const WalSegment> segments,
                  const WalDamage& damage);

// Renames a file to "damaged-<name>.bak", or with a number added, and returns the new name. The
// change is on disk after directory.sync().
kj::String renameDamaged(const kj::Directory& directory, kj::StringPtr name);

}  // namespace ledger
