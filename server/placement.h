// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finds room for the payloads of a reply, and writes them there.
//
// Longer ones go through shared memory. Large values stay where they lie, if the client may map the
// store: it is told where. Else all payloads of a call are written to one span of an arena. If none
// has room they go inline, if the message may be that long; else the reply is an error that says
// what was needed and what was free.

#include "server/operations.h"
#include "server/session-arenas.h"
#include "server/store-references.h"
#include "shm/arena-set.h"
#include "shm/memory-budget.h"

#include <kj/one-of.h>

namespace ledger::server {

// Bytes for the message, in private memory.
struct InlineBytes {
  shm::Reservation reservation;  // For these bytes and for their copy in the message.
  kj::Array<kj::byte> bytes;
};

// Values in the store. `region` holds the header of a packed list, if it is one, and the table, of
// the header's span and of every value's that is not empty.
class StoredBytes final {
public:
  StoredBytes(StoreReferences::Reference reference, shm::Region region, const rpc::SpanTable& table)
      : reference(kj::mv(reference)), region(kj::mv(region)), where(table) {}
  StoredBytes(StoredBytes&& other)
      : reference(kj::mv(other.reference)), region(kj::mv(other.region)), where(other.where) {
    other.reference = nullptr;
    other.region = nullptr;
  }
  ~StoredBytes() noexcept(false) { end(); }

  const rpc::SpanTable& table() const { return where; }

  // Ends the reference: see StoreReferences::Reference::release(). Null also if that was done
  // before.
  kj::Maybe<kj::Own<const Trie>> end();

private:
  kj::Maybe<StoreReferences::Reference> reference;  // Null once moved from, or ended.
  kj::Maybe<shm::Region> region;
  rpc::SpanTable where;
};

// Answers with their payloads written. Ready for the loop.
struct Finished {
  struct Nothing {};  // No answer has a payload.

  Answers answers;
  kj::OneOf<Nothing, InlineBytes, shm::Region, StoredBytes> payload = Nothing();
};

// The choices of one session.
// Thread: const methods from any thread.
class Placement final {
public:
  struct Options {
    uint64_t inlineThreshold;  // Bytes: longer payloads go through shared memory.
    uint64_t messageWords;     // The longest message that the client takes.
    // What the client can take: nothing, arenas, or arenas and segments of the store.
    enum class SharedMemory { NONE, ARENAS, STORE } sharedMemory;
  };
  // `all` and `memory` outlive it.
  Placement(Options options, kj::Own<const shm::ArenaSet> arenas,
            kj::Own<const StoreReferences> references, const SessionArenas& all,
            const shm::MemoryBudget& memory)
      : options(options),
        arenas(kj::mv(arenas)),
        references(kj::mv(references)),
        all(all),
        memory(memory) {}

  // For a worker: it may outlive the session.
  Placement share() const {
    return Placement(options, kj::atomicAddRef(*arenas), kj::atomicAddRef(*references), all,
                     memory);
  }

  // May have to make an arena, and copies whatever there is: not on an event loop.
  Finished place(Answers answers) const;

  // The same for what is small and finds room at once: may be called on an event loop. Null, with
  // `answers` as it was: ask place().
  kj::Maybe<Finished> tryPlace(Answers& answers) const;

private:
  bool wantsSharedMemory(uint64_t size) const;
  // Null, with `answers` as they were: they are to be copied. `lend` gives room for tables.
  template <typename Lend>
  kj::Maybe<Finished> refer(Answers& answers, Lend&& lend) const;
  bool isWorthReferring(const Answers& answers, const Answers::Stored& stored) const;
  // As ArenaSet::lend(). What the kernel refuses (memory, a descriptor) is a refusal too.
  kj::OneOf<shm::Region, shm::Refusal> lend(uint64_t size) const;
  // The longest payloads, in bytes, that a message may carry with these answers.
  uint64_t inlineMost(const Answers& answers) const;
  Finished placeInline(Answers answers) const;

  Options options;
  kj::Own<const shm::ArenaSet> arenas;
  kj::Own<const StoreReferences> references;
  const SessionArenas& all;
  const shm::MemoryBudget& memory;
};

}  // namespace ledger::server
