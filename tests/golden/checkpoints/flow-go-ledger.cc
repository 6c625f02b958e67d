// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/checkpoints/flow-go-ledger.h"

#include "ledger/encoding.h"
#include "ledger/trie-update.h"
#include "ledger/trie/update.h"
#include "ledger/wal/reader.h"

#include <kj/debug.h>

namespace ledger::testing {

std::vector<LoggedUpdate> readUpdates(const kj::ReadableDirectory& directory) {
  std::vector<LoggedUpdate> updates;
  auto segments = listWalSegments(directory);
  WalReader reader(directory, segments);
  for (;;) {
    KJ_IF_MAYBE (record, reader.next()) {
      updates.push_back({record->start.segment, kj::heapArray(record->bytes)});
    } else {
      break;
    }
  }
  KJ_IF_MAYBE (damage, reader.damage()) {
    KJ_FAIL_REQUIRE("the log is damaged", damage->reason);
  }
  return updates;
}

FlowGoLedger::FlowGoLedger(const Store& store, uint32_t capacity,
                           kj::ArrayPtr<const kj::Own<const Trie>> checkpoint,
                           kj::ArrayPtr<const LoggedUpdate> replayed)
    : capacity(capacity), forest(capacity) {
  forest.add(Trie::empty(kj::atomicAddRef(store)));
  for (const auto& trie : checkpoint) forest.add(kj::atomicAddRef(*trie));
  for (const auto& update : replayed) KJ_REQUIRE(set(update));
  queue.clear();
  for (auto& trie : forest.tries()) queue.push_back(kj::mv(trie));
}

bool FlowGoLedger::set(const RootHash& parent, kj::ArrayPtr<const Path> paths,
                       kj::ArrayPtr<const Payload> payloads) {
  auto found = forest.find(parent);
  KJ_IF_MAYBE (trie, found) {
    TrieUpdater updater(kj::mv(*trie));
    KJ_REQUIRE(updater.plan(paths, payloads, Stop::never()));
    KJ_REQUIRE(updater.reserve() == nullptr);
    auto built = updater.build();
    forest.add(kj::atomicAddRef(*built));
    if (queue.size() == capacity) queue.pop_front();
    queue.push_back(kj::mv(built));
    return true;
  }
  return false;
}

bool FlowGoLedger::set(const LoggedUpdate& logged) {
  auto decoded = decodeWalRecord(logged.record);
  KJ_REQUIRE(decoded.is<LogRecord>() && decoded.get<LogRecord>().is<DecodedTrieUpdate>());
  auto& update = decoded.get<LogRecord>().get<DecodedTrieUpdate>();
  for (auto& payload : update.payloads) payload.key = storedForm(payload.key);
  return set(update.root, update.paths, update.payloads);
}

kj::Array<kj::Own<const Trie>> FlowGoLedger::queued() const {
  return KJ_MAP(trie, queue) {
    return kj::atomicAddRef(*trie);
  };
}

}  // namespace ledger::testing
