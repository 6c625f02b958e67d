// SPDX-License-Identifier: Apache-2.0
#pragma once
// The operations of one call, from their arguments to bytes that can be sent.
//
// A call is a list of operations: one, or those of a batch. Executing them gives an answer to each,
// of which some have a payload. The payloads are sized first; then, wherever there is room for all
// of them together, each is written once. Nothing here knows of RPC: it runs on a worker, or, where
// the work is small, on the loop.

#include "ledger/ledger.h"
#include "server/request-body.h"
#include "shm/memory-budget.h"

#include <kj/array.h>
#include <kj/one-of.h>
#include <kj/vector.h>

namespace ledger::server {

class CallMeters;

struct Operation {
  enum class Kind { INITIAL_STATE, HAS_STATE, GET_SINGLE_VALUE, GET, SET, PROVE } kind;
  RootHash state;
  RequestBody keys;    // A packed list; the key itself for GET_SINGLE_VALUE.
  RequestBody values;  // A packed list.
  kj::Maybe<SetId> id;
};

// Where an answer's payload lies among the payloads of the call.
struct Payload {
  uint64_t offset;  // Bytes.
  uint64_t length;  // Bytes.
};

using Answer = kj::OneOf<RootHash, bool, Payload, Error>;

// What an answer's payload is made from. Holds the trie that the bytes lie in.
struct OneValue {
  kj::Own<const Trie> trie;
  Value value;
};
using PayloadSource = kj::OneOf<OneValue, Values, BatchProof>;

// Thread: one owner at a time.
class Answers final {
public:
  // Executes each operation; one that is an error already is answered with it. An answer that would
  // bring the payloads over `maxPayload` bytes becomes TOO_LARGE. `budget` is asked for what the
  // execution itself allocates. Looks at `stop` between operations and within long ones. `meters`
  // count what is executed.
  static Answers execute(const Ledger& ledger, kj::Array<Result<Operation>> operations,
                         uint64_t maxPayload, const shm::MemoryBudget& budget,
                         const CallMeters& meters, const Stop& stop);

  // The same error for `count` operations.
  static Answers refusal(size_t count, const Error& error);

  kj::ArrayPtr<const Answer> each() const { return answers; }

  // Bytes of all payloads together, and whether there are any (they may be empty).
  uint64_t payloadSize() const { return size; }
  bool hasPayloads() const { return sources.size() > 0; }

  // Values that lie in the store, if the only payload is made of them: what a client that may map
  // the store needs no copy of.
  struct Stored {
    const Trie& trie;
    kj::ArrayPtr<const Value> values;
    enum class Form { VALUE, PACKED_LIST } form;
  };
  kj::Maybe<Stored> stored() const;

  // Writes every payload at its offset. `out` has payloadSize() bytes.
  void write(kj::ArrayPtr<kj::byte> out) const;

  // Nothing can carry the payloads: each of those answers becomes `error`.
  void refusePayloads(const Error& error);

private:
  kj::Vector<Answer> answers;
  kj::Vector<PayloadSource> sources;  // Of the answers with payloads, in their order.
  uint64_t size = 0;

  void add(Result<PayloadSource> source, uint64_t maxPayload);
};

// flow-go's line for a Set that succeeded, at level debug.
void logUpdate(const RootHash& from, const RootHash& to, size_t registers);

}  // namespace ledger::server
