// SPDX-License-Identifier: Apache-2.0
#pragma once
// A new trie from an old one and a batch of payloads, in three steps.
//
// plan() descends all paths together and decides which nodes the new trie has; reserve() takes the
// memory for all of them; build() copies, hashes and yields the trie. What may be refused happens
// in the first two: once a Set is in the log, nothing is left that could fail.
//
// Which nodes are new and which are shared is part of the contract: flow-go's checkpoints hold
// shared nodes once, so node identity follows its algorithm object by object, and so do its
// counters with their drift. Source: flow-go's ledger/complete/mtrie/trie (docs/formats.md,
// "Updates").

#include "ledger/model.h"
#include "ledger/stop.h"
#include "ledger/trie/trie.h"

#include <kj/vector.h>

namespace ledger {

// Thread: one at a time. Holds the parent; borrows the paths and payloads given to plan().
class TrieUpdater final {
public:
  explicit TrieUpdater(kj::Own<const Trie> parent);
  ~TrieUpdater() noexcept(false);
  KJ_DISALLOW_COPY(TrieUpdater);

  // Once, first. If a path occurs more than once its last payload counts. The arrays' elements must
  // outlive this object. False: `stop` was requested, and this object is of no more use.
  bool plan(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads, const Stop& stop);

  // After plan(): an upper bound of the private memory that build() takes, and the plan itself.
  uint64_t workingBytes() const;

  // Once, after plan(). Dropping the object gives back what was taken.
  kj::Maybe<shm::Shortage> reserve();

  // Once, after reserve(). A failure here would leave a logged update without its trie, so there is
  // none: running out of private memory ends the process.
  kj::Own<const Trie> build() noexcept;

private:
  // Where a planned leaf's payload comes from.
  struct LeafSource {
    uint32_t entry;  // Index into `entries`, or FROM_NODE.
    NodeRef node;    // FROM_NODE: an existing leaf, whose payload is shared.
  };
  static constexpr uint32_t FROM_NODE = ~uint32_t(0);

  // A child of a planned node: none, an existing node, or a planned one.
  struct Child {
    enum class Kind : uint8_t { NONE, EXISTING, PLANNED } kind = Kind::NONE;
    NodeRef node;          // EXISTING
    uint32_t planned = 0;  // PLANNED: index into `planned`.
  };

  struct PlannedNode {
    uint16_t height;
    bool isLeaf;
    LeafSource source;  // Leaf.
    Child left, right;  // Interior.
  };

  // What stands at one position of the new trie. A LEAF has no node yet: it may still rise, and
  // gets its node where it comes to rest.
  struct Subtrie {
    enum class Kind : uint8_t { NONE, EXISTING, LEAF, PLANNED } kind = Kind::NONE;
    NodeRef node;          // EXISTING
    LeafSource source{};   // LEAF
    uint32_t planned = 0;  // PLANNED
  };

  // One distinct path with its last payload.
  struct Entry {
    const Path* path;
    const Payload* payload;
    uint32_t record = NO_RECORD;  // Index into `records`, once reserved.
  };
  static constexpr uint32_t NO_RECORD = ~uint32_t(0);

  Subtrie descend(unsigned height, NodeRef current, kj::Maybe<NodeRef> carried, uint32_t begin,
                  uint32_t end, const Stop& stop);
  Subtrie placeLeaf(LeafSource source) const { return {Subtrie::Kind::LEAF, {}, source, 0}; }
  Subtrie join(unsigned height, Subtrie left, Subtrie right);
  bool isDefault(unsigned height, const Subtrie& subtrie) const;
  bool isLeaf(const Subtrie& subtrie) const;
  Child settle(unsigned height, const Subtrie& subtrie);
  uint32_t split(uint32_t begin, uint32_t end, unsigned depth) const;
  NodeRef refOf(const Child& child) const;
  const Hash& hashOf(unsigned height, const Child& child) const;
  void writeNodes() noexcept;
  void hashLeaves() noexcept;
  void hashInteriors() noexcept;

  kj::Own<const Trie> parent;
  const Store& store;
  kj::Vector<Entry> entries;        // Ascending by path.
  kj::Vector<PlannedNode> planned;  // Children before parents.
  Child root;
  Trie::Size size;
  bool stopped = false;

  kj::Array<uint64_t> slots;         // Of `planned`.
  kj::Array<PayloadHandle> records;  // Of the entries that are stored.
  bool reserved = false;             // `slots` and `records` are ours to give back.
};

}  // namespace ledger
