// SPDX-License-Identifier: Apache-2.0
#pragma once
// What flow-go's ledger holds after each update of its log: the forest, and the queue of tries that
// its compactor writes checkpoints from.

#include "ledger/forest.h"
#include "ledger/model.h"
#include "ledger/trie/store.h"
#include "ledger/trie/trie.h"

#include <kj/array.h>
#include <kj/filesystem.h>

#include <cstdint>
#include <deque>
#include <vector>

namespace ledger::testing {

struct LoggedUpdate {
  uint64_t segment;
  kj::Array<kj::byte> record;
};

// The updates of a whole log. Throws if it is damaged.
std::vector<LoggedUpdate> readUpdates(const kj::ReadableDirectory& directory);

class FlowGoLedger final {
public:
  // As a start leaves it: the empty trie, then `checkpoint`, then `replayed`; the queue has what
  // the forest has.
  FlowGoLedger(const Store& store, uint32_t capacity,
               kj::ArrayPtr<const kj::Own<const Trie>> checkpoint,
               kj::ArrayPtr<const LoggedUpdate> replayed);

  // A Set. The forest takes its trie if it does not know the state, the queue in any case. False:
  // the forest does not have the state that it starts from.
  bool set(const RootHash& parent, kj::ArrayPtr<const Path> paths,
           kj::ArrayPtr<const Payload> payloads);
  bool set(const LoggedUpdate& update);

  // The tries that a checkpoint at this time has, oldest first.
  kj::Array<kj::Own<const Trie>> queued() const;

private:
  const uint32_t capacity;
  Forest forest;
  std::deque<kj::Own<const Trie>> queue;
};

}  // namespace ledger::testing
