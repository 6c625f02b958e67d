// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the golden runner asks of a ledger, whatever stands between: the core itself, or a ledgerd
// process behind one of the client's transports.
//
// Answers come back as plain copies; a refusal is a value, and what should never happen (a process
// that died, a directory that does not open) throws.

#include "ledger/error.h"
#include "ledger/model.h"
#include "tests/golden/blob.h"

#include <cstdint>

namespace ledger::golden {

struct OpenOptions {
  uint32_t forestCapacity = 500;
  uint64_t walSegmentSize = 0;  // 0: the default.
};

// flow-go's own counters of a trie.
struct TrieCounters {
  uint64_t registers;
  uint64_t bytes;
};

using Keys = kj::ArrayPtr<const EncodedKey>;

// Thread: the one that made it.
class LedgerUnderTest {
public:
  virtual ~LedgerUnderTest() noexcept(false) = default;

  virtual kj::StringPtr name() const = 0;

  // Starts on a directory, given by its absolute path. Throws if the ledger refuses it.
  virtual void open(kj::StringPtr directory, const OpenOptions& options) = 0;

  // A clean stop: afterwards the directory is as it would be for the next start.
  virtual void close() = 0;

  virtual RootHash initialState() = 0;
  virtual bool hasState(const RootHash& state) = 0;
  virtual uint64_t stateCount() = 0;
  virtual Result<RootHash> stateByIndex(int64_t index) = 0;
  virtual kj::Array<RootHash> states() = 0;  // Oldest first.

  virtual Result<Bytes> getSingleValue(const RootHash& state, EncodedKey key) = 0;
  virtual Result<kj::Array<Bytes>> get(const RootHash& state, Keys keys) = 0;
  virtual Result<Bytes> prove(const RootHash& state, Keys keys) = 0;
  virtual Result<RootHash> set(const RootHash& state, Keys keys,
                               kj::ArrayPtr<const Value> values) = 0;

  // Null: not to be had this way, or no such state.
  virtual kj::Maybe<TrieCounters> counters(const RootHash& state) = 0;
};

}  // namespace ledger::golden
