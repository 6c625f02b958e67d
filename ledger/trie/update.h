// SPDX-License-Identifier: Apache-2.0
#pragma once
// A new trie from an old one and a batch of payloads, in three steps.
//
// plan() descends all paths together and decides which nodes the new trie has; reserve() takes the
// memory for all of them; build() copies, hashes and yields the trie. What may be refused happens
// in the first two: once a Set is in the log, nothing is left that could fail.

#include "ledger/model.h"
#include "ledger/stop.h"
#include "ledger/thread-pool.h"
#include "ledger/trie/trie.h"
#include "ledger/trie/update-plan.h"

namespace ledger {

// Thread: one at a time. Holds the parent; borrows the paths and payloads given to plan().
class TrieUpdater final {
public:
  // `pool` must outlive this object; it does not change what comes out.
  explicit TrieUpdater(kj::Own<const Trie> parent, const ThreadPool& pool = ThreadPool::none());
  ~TrieUpdater() noexcept(false);
  KJ_DISALLOW_COPY(TrieUpdater);

  // Once, first. If a path occurs more than once its last payload counts. The arrays' elements must
  // outlive this object. False: `stop` was requested, and this object is of no more use.
  bool plan(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads, const Stop& stop);

  // After plan(): what the update is, for who counts.
  struct Figures {
    uint64_t registers;  // Distinct ones.
    uint64_t bytes;      // Of their keys and values.
    unsigned depth;      // The deepest that it reached, in flow-go's sense.
    Trie::Size before, after;
  };
  Figures figures() const;

  // After plan(): an upper bound of the private memory that build() takes, and the plan itself.
  uint64_t workingBytes() const;

  // Once, after plan(). Dropping the object gives back what was taken.
  kj::Maybe<shm::Shortage> reserve();

  // Once, after reserve(). A failure here would leave a logged update without its trie, so there is
  // none: running out of private memory ends the process.
  kj::Own<const Trie> build() noexcept;

private:
  NodeRef refOf(PlannedChild child) const;
  const Hash& hashOf(unsigned height, PlannedChild child) const;
  void buildPart(const PlannedPart& part, kj::ArrayPtr<const PayloadHandle> ownRecords) const;
  void writeNodes(const PlannedPart& part, kj::ArrayPtr<const PayloadHandle> ownRecords) const;
  void hashLeaves(const PlannedPart& part) const;
  void hashInteriors(const PlannedPart& part) const;

  kj::Own<const Trie> parent;
  const Store& store;
  const ThreadPool& pool;
  UpdatePlan planned;

  kj::Array<uint64_t> slots;         // Of the planned nodes, by their numbers.
  kj::Array<PayloadHandle> records;  // Of the entries that are stored, part by part.
  bool reserved = false;             // `slots` and `records` are ours to give back.
};

}  // namespace ledger
