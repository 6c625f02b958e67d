// SPDX-License-Identifier: Apache-2.0
#include "ledger/ledger.h"

#include "ledger/encoding.h"
#include "ledger/give-way.h"
#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"
#include "ledger/path-finder.h"
#include "ledger/recent-sets.h"
#include "ledger/recovery.h"
#include "ledger/sequencer.h"
#include "ledger/trie-update.h"
#include "ledger/trie/update.h"
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>

namespace ledger {

namespace {

constexpr size_t REMEMBERED_SETS = 1024;

// Keys that one thread takes at a time: enough work to be worth a thread's attention.
constexpr size_t KEYS_PER_PIECE = 128;

// Private memory of an update before it is planned: paths, payloads, their order.
constexpr uint64_t UPDATE_BYTES_PER_REGISTER = 160;

Error outOfMemory(kj::StringPtr what, const shm::Shortage& shortage) {
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::OUT_OF_MEMORY, what, " ", shortage.describe());
}

// Null: all of them are well-formed and not too large.
kj::Maybe<Error> check(kj::ArrayPtr<const EncodedKey> keys) {
  for (size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].size() > MAX_KEY_SIZE) {
      return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "key ", i, " has ",
                       keys[i].size(), " bytes; at most ", MAX_KEY_SIZE, " are allowed");
    }
    KJ_IF_MAYBE (error, validateKey(keys[i])) {
      return Error{error->code, error->reason, kj::str("key ", i, ": ", error->message)};
    }
  }
  return nullptr;
}

kj::Array<Path> hashPaths(kj::ArrayPtr<const EncodedKey> keys, const ThreadPool& pool) {
  auto paths = kj::heapArray<Path>(keys.size());
  pool.forEach(keys.size(), KEYS_PER_PIECE, [&](size_t begin, size_t end) {
    pathsOf(keys.slice(begin, end), paths.slice(begin, end));
  });
  return paths;
}

// Tells one request from another: who reuses an id by mistake is found out. Not against malice.
Hash fingerprint(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                 kj::ArrayPtr<const Value> values) {
  uint64_t words[3] = {keys.size(), 0, 0};
  for (size_t i = 0; i < keys.size(); ++i) {
    words[1] = extendCrc32c(words[1], keys[i]);
    words[2] = extendCrc32c(words[2] + values[i].size(), values[i]);
  }
  hash::Message message{state.ptr(), kj::arrayPtr(words, 3).asBytes()};
  Hash result;
  hash::sha3(kj::arrayPtr(&message, 1), kj::arrayPtr(&result, 1));
  return result;
}

}  // namespace

struct Ledger::Impl {
  Impl(Recovered recovered, kj::Own<const kj::Directory> directory, LedgerOptions& options)
      : lock(kj::mv(recovered.lock)),
        store(kj::mv(recovered.store)),
        budget(kj::mv(recovered.budget)),
        pool(kj::mv(recovered.pool)),
        forest(kj::mv(recovered.forest)),
        checkpointer(
            kj::mv(directory),
            {forest->tries(), options.forestCapacity, recovered.writer->segment(),
             recovered.checkpoint},
            kj::mv(options.checkpoints), sets, options.reporter),
        sequencer(*forest, kj::mv(recovered.writer), options.walSync, checkpointer,
                  options.reporter),
        relieve(kj::mv(options.relieve)),
        meters(options.meters) {}

  Result<RootHash> apply(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                         kj::ArrayPtr<const Value> values, const Stop& stop) const;

  // Destroyed from below: the log is closed before the lock is given back.
  DirectoryLock lock;
  kj::Own<const Store> store;
  kj::Own<const shm::MemoryBudget> budget;
  kj::Own<const ThreadPool> pool;
  kj::Own<const Forest> forest;
  RecentSets recentSets{REMEMBERED_SETS};
  SetsInProgress sets;
  Checkpointer checkpointer;
  Sequencer sequencer;
  kj::ConstFunction<bool(const Ledger&)> relieve;
  const LedgerMeters& meters;
};

Ledger::Ledger(kj::Own<Impl> impl) : impl(kj::mv(impl)) {}
Ledger::~Ledger() noexcept(false) {}

kj::Own<Ledger> Ledger::open(kj::Own<const kj::Directory> directory, kj::StringPtr directoryName,
                             kj::Own<const shm::MemoryBudget> budget, LedgerOptions options) {
  auto recovered = recover(*directory, directoryName, kj::mv(budget), options);
  return kj::heap<Ledger>(kj::heap<Impl>(kj::mv(recovered), kj::mv(directory), options));
}

RootHash Ledger::initialState() const {
  return hash::defaultHash(TRIE_HEIGHT);
}

bool Ledger::hasState(const RootHash& state) const {
  return impl->forest->contains(state);
}

uint64_t Ledger::stateCount() const {
  return impl->forest->size();
}

Result<RootHash> Ledger::stateByIndex(int64_t index) const {
  auto roots = impl->forest->roots();
  auto count = int64_t(roots.size());
  if (index >= count || index < -count) {
    return makeError(Code::OUT_OF_RANGE, Reason::INDEX_OUT_OF_RANGE, "index ", index,
                     " is out of range (count: ", count, ")");
  }
  return roots[index < 0 ? count + index : index];
}

kj::Array<RootHash> Ledger::states() const {
  return impl->forest->roots();
}

Result<kj::Own<const Trie>> Ledger::pin(const RootHash& state) const {
  KJ_IF_MAYBE (trie, impl->forest->find(state)) {
    return kj::mv(*trie);
  }
  return unknownState(state);
}

Result<Ledger::PinnedStore> Ledger::pinStore(const RootHash& state) const {
  KJ_IF_MAYBE (found, impl->forest->findNumbered(state)) {
    // The segments after the trie: none that it needs can be missing.
    auto segments = impl->store->segments();
    return PinnedStore{kj::mv(found->trie), kj::mv(segments), found->number,
                       kj::atomicAddRef(impl->forest->evictions())};
  }
  return unknownState(state);
}

bool Ledger::holds(const Trie& trie) const {
  return impl->forest->lifetime(trie) != nullptr;
}

LocatedValues Ledger::locate(const Trie& trie, kj::ArrayPtr<const Value> values) {
  return trie.store().payloads.locate(values);
}

void Ledger::collect() const {
  impl->store->payloads.collect();
}

Result<Value> Ledger::getSingleValue(const Trie& trie, EncodedKey key) {
  KJ_IF_MAYBE (error, check(kj::arrayPtr(&key, 1))) {
    return kj::mv(*error);
  }
  return trie.read(pathOf(key));
}

Result<Value> Ledger::readSingleValue(const Trie& trie, EncodedKey key) const {
  const Stopwatch watch;
  auto value = getSingleValue(trie, key);
  if (value.is<Value>()) impl->meters.addRead(1, watch.elapsed());
  return value;
}

Result<Values> Ledger::get(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                           const Stop& stop) const {
  const Stopwatch watch;
  KJ_IF_MAYBE (error, check(keys)) {
    return kj::mv(*error);
  }
  Values result{{}, nullptr, 0, {}};
  if (keys.size() == 0) return kj::mv(result);
  auto reserved = impl->budget->reserve(keys.size() * sizeof(Value));
  KJ_IF_MAYBE (shortage, reserved.tryGet<shm::Shortage>()) {
    return outOfMemory("the query", *shortage);
  }
  result.views = kj::mv(reserved.get<shm::Reservation>());
  result.values = kj::heapArray<Value>(keys.size());
  KJ_IF_MAYBE (trie, impl->forest->find(state)) {
    result.trie = kj::mv(*trie);
  } else {
    return unknownState(state);
  }
  std::atomic<uint64_t> bytes = 0, keyBytes = 0;
  std::atomic<bool> stopped = false;
  impl->pool->forEach(keys.size(), KEYS_PER_PIECE, [&](size_t begin, size_t end) {
    if (stop.requested()) stopped = true;
    if (stopped) return;
    Path paths[KEYS_PER_PIECE];
    const PayloadHeader* records[KEYS_PER_PIECE];
    auto found = kj::arrayPtr(records, end - begin);
    pathsOf(keys.slice(begin, end), kj::arrayPtr(paths, end - begin));
    result.trie->find(kj::arrayPtr(paths, end - begin), found);
    uint64_t sum = 0, keySum = 0;
    for (size_t i = begin; i < end; ++i) {
      const auto* record = found[i - begin];
      result.values[i] = record == nullptr ? Value() : PayloadView{record}.value();
      sum += result.values[i].size();
      keySum += record == nullptr ? 0 : record->keyLength();
    }
    bytes += sum;
    keyBytes += keySum;
  });
  if (stopped) return callCancelled();
  result.bytes = bytes;
  if (keys.size() > 1) impl->meters.readBytes.set(bytes + keyBytes);
  impl->meters.addRead(keys.size(), watch.elapsed());
  return kj::mv(result);
}

Result<BatchProof> Ledger::prove(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                                 const Stop& stop, uint64_t maxEncodedSize) const {
  KJ_IF_MAYBE (error, check(keys)) {
    return kj::mv(*error);
  }
  if (keys.size() == 0) {
    return ledger::prove(*Trie::empty(kj::atomicAddRef(*impl->store)), nullptr, stop);
  }
  KJ_IF_MAYBE (trie, impl->forest->find(state)) {
    auto reserved = impl->budget->reserve(keys.size() * sizeof(Path));
    KJ_IF_MAYBE (shortage, reserved.tryGet<shm::Shortage>()) {
      return outOfMemory("the query", *shortage);
    }
    auto proof =
        ledger::prove(**trie, hashPaths(keys, *impl->pool), stop, maxEncodedSize, *impl->pool);
    KJ_IF_MAYBE (made, proof.tryGet<BatchProof>()) {
      impl->meters.proofBytesPerKey.set(made->encodedSize() / keys.size());
    }
    return proof;
  }
  auto error = unknownState(state);
  error.message = kj::str("could not get proofs: ", error.message);
  return kj::mv(error);
}

Result<RootHash> Ledger::set(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                             kj::ArrayPtr<const Value> values, kj::Maybe<SetId> id,
                             const Stop& stop) const {
  if (keys.size() != values.size()) {
    return makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, "length mismatch: keys have ",
                     keys.size(), " elements, but values have ", values.size(), " elements");
  }
  if (keys.size() == 0) return state;
  KJ_IF_MAYBE (error, check(keys)) {
    return kj::mv(*error);
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].size() > MAX_VALUE_SIZE) {
      return makeError(Code::INVALID_ARGUMENT, Reason::TOO_LARGE, "value ", i, " has ",
                       values[i].size(), " bytes; at most ", MAX_VALUE_SIZE, " are allowed");
    }
  }
  auto apply = [&]() {
    auto result = impl->apply(state, keys, values, stop);
    KJ_IF_MAYBE (error, result.tryGet<Error>()) {
      if (error->reason == Reason::OUT_OF_MEMORY && impl->relieve(*this)) {
        return impl->apply(state, keys, values, stop);
      }
    }
    return result;
  };
  const Stopwatch watch;
  impl->meters.updates.add();
  auto updated = [&]() {
    KJ_IF_MAYBE (setId, id) {
      return impl->recentSets.run(*setId, fingerprint(state, keys, values), stop, apply);
    }
    return apply();
  }();
  if (updated.is<RootHash>()) {
    const auto time = watch.elapsed();
    impl->meters.updateTime.add(time);
    impl->meters.updateTimePerValue.add(time / int64_t(keys.size()));
  }
  return updated;
}

Result<RootHash> Ledger::Impl::apply(const RootHash& state, kj::ArrayPtr<const EncodedKey> keys,
                                     kj::ArrayPtr<const Value> values, const Stop& stop) const {
  SetsInProgress::One inProgress(sets);
  // Everything that may be refused comes first; admit() is the commit point.
  shm::Reservation working;
  auto reserve = [&](uint64_t bytes) -> kj::Maybe<Error> {
    auto reserved = budget->reserve(bytes);
    KJ_IF_MAYBE (shortage, reserved.tryGet<shm::Shortage>()) {
      return outOfMemory("the update", *shortage);
    }
    working.merge(kj::mv(reserved.get<shm::Reservation>()));
    return nullptr;
  };
  KJ_IF_MAYBE (error, reserve(keys.size() * UPDATE_BYTES_PER_REGISTER)) return kj::mv(*error);
  auto paths = hashPaths(keys, *pool);
  auto payloads = kj::heapArray<Payload>(keys.size());
  for (size_t i = 0; i < payloads.size(); ++i) payloads[i] = {storedForm(keys[i]), values[i]};

  auto recordSize = walRecordSize({state, paths, payloads});
  if (recordSize.is<Error>()) return kj::mv(recordSize.get<Error>());
  // Twice: the log lays its group out in a buffer of its own.
  KJ_IF_MAYBE (error, reserve(2 * recordSize.get<uint64_t>())) return kj::mv(*error);
  auto encoded = kj::heapArray<kj::byte>(recordSize.get<uint64_t>());
  encodeWalRecord({state, paths, payloads}, encoded);
  kj::Array<const kj::byte> record = kj::mv(encoded);

  for (;;) {
    auto parent = forest->find(state);
    if (parent == nullptr) {
      auto error = unknownState(state);
      error.message = kj::str("cannot update state: ", error.message);
      return kj::mv(error);
    }
    auto& trie = *KJ_ASSERT_NONNULL(parent);
    TrieUpdater updater(kj::atomicAddRef(trie), *pool);
    if (!updater.plan(paths, payloads, stop)) return callCancelled();
    KJ_IF_MAYBE (error, reserve(updater.workingBytes())) return kj::mv(*error);
    KJ_IF_MAYBE (shortage, updater.reserve()) return outOfMemory("the update", *shortage);

    auto place = sequencer.admit(trie, kj::mv(record), stop);
    KJ_IF_MAYBE (error, place.tryGet<Error>()) {
      if (error->reason == Reason::UNKNOWN_STATE) continue;  // Evicted; perhaps built again since.
      return kj::mv(*error);
    }
    // The record is on its way to the disk while the trie is hashed.
    countUpdate(meters, updater.figures());
    auto updated = updater.build();
    auto newState = updated->rootHash();
    KJ_IF_MAYBE (error, sequencer.publish(place.get<Sequencer::Place>(), kj::mv(updated))) {
      return kj::mv(*error);
    }
    return newState;
  }
}

Result<uint64_t> Ledger::checkpoint(const Stop& stop) const {
  return impl->checkpointer.checkpointNow([&]() { return impl->sequencer.finishSegment(); }, stop);
}

void Ledger::giveUpCheckpoint() const {
  impl->checkpointer.giveUp();
}

LedgerStats Ledger::stats() const {
  const auto& nodes = impl->store->nodes;
  const auto& payloads = impl->store->payloads;
  LedgerStats stats{};
  auto tries = impl->forest->tries();
  stats.states = tries.size();
  stats.nodes = nodes.live();
  stats.leaves = impl->store->liveLeaves();
  stats.values = payloads.live();
  stats.nodeBytes = nodes.live() * NODE_SLOT_SIZE;
  stats.valueBytes = payloads.liveBytes();
  stats.committedBytes = nodes.committedBytes() + payloads.committedBytes();
  stats.privateBytes = nodes.privateBytes() + payloads.privateBytes();
  if (tries.size() > 0) {
    stats.newestRegisters = tries.back()->size().registers;
    stats.newestBytes = tries.back()->size().bytes;
  }
  auto log = impl->sequencer.status();
  stats.activeSegment = log.activeSegment;
  stats.log = kj::mv(log.health);
  stats.checkpoints = impl->checkpointer.status();
  return stats;
}

}  // namespace ledger
