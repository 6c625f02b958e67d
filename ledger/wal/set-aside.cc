// SPDX-License-Identifier: Apache-2.0
#include "ledger/wal/set-aside.h"

#include <kj/debug.h>
#include <kj/vector.h>

namespace ledger {

kj::String renameDamaged(const kj::Directory& directory, kj::StringPtr name) {
  for (unsigned attempt = 0;; ++attempt) {
    auto to = attempt == 0 ? kj::str("damaged-", name, ".bak")
                           : kj::str("damaged-", name, "-", attempt, ".bak");
    if (directory.tryLstat(kj::Path(to)) != nullptr) continue;
    directory.transfer(kj::Path(to), kj::WriteMode::CREATE | kj::WriteMode::MODIFY, kj::Path(name),
                       kj::TransferMode::MOVE);
    return to;
  }
}

SetAside setAside(const kj::Directory& directory, kj::ArrayPtr<const WalSegment> segments,
                  const WalDamage& damage) {
  kj::Vector<kj::String> renamed;
  for (size_t i = segments.size(); i > 0 && segments[i - 1].number > damage.at.segment; --i) {
    renamed.add(renameDamaged(directory, walSegmentName(segments[i - 1].number)));
    directory.sync();  // Before the next: the numbers that stay have no gaps.
  }
  return {cutTornTail(directory, damage), renamed.releaseAsArray()};
}

}  // namespace ledger
