// SPDX-License-Identifier: Apache-2.0
#pragma once
// Puts the nodes of tries into a checkpoint file: children before parents, left before right, each
// node once, with the number that it has in the file.
//
// To know a node again takes a table of those already written. Only a node with more than one
// reference can be met twice below the nodes where the walks begin, and a node whose references
// all come from what is being written keeps them until the end, so its count is no less than what
// the walk will meet. So the table holds those nodes, and the ones where walks begin, and no
// others.

#include "ledger/checkpoint/writer-file.h"
#include "ledger/stop.h"
#include "ledger/trie/store.h"
#include "shm/memory-budget.h"

#include <kj/array.h>
#include <kj/function.h>

namespace ledger {

// From nodes to numbers. Thread: one at a time.
class NodeNumbers final {
public:
  // Takes its memory from `budget`.
  explicit NodeNumbers(const shm::MemoryBudget& budget);

  // 0: not in the table.
  uint64_t find(NodeRef node) const;
  // A hint that `node` will be looked for.
  void prefetch(NodeRef node) const;
  // `node` is not in the table, and `number` is not 0. Throws if the budget has no room.
  void add(NodeRef node, uint64_t number);

private:
  struct Entry {
    uint64_t slot = 0;  // 0: free. The store's slot 0 is never a node.
    uint64_t number = 0;
  };

  size_t firstPlaceOf(uint64_t slot) const;
  size_t placeOf(uint64_t slot) const;
  void grow();

  kj::Own<const shm::MemoryBudget> budget;
  shm::Reservation reservation;  // Given back after `entries`.
  kj::Array<Entry> entries;      // A power of two of them, at most three quarters in use.
  size_t used = 0;
};

// Thread: one at a time.
class NodeWriter final {
public:
  // The number by which this file refers to a node of another one: `node` stands at `lowestHeight`
  // - 1, and the bits of `prefix` lead to it from the top.
  using FindBelow = kj::Function<uint64_t(NodeRef node, unsigned prefix)>;

  // The first node gets number `firstNumber`. `store`, `file` and `stop` must outlive this object.
  NodeWriter(const Store& store, CheckpointFile& file, const Stop& stop, uint64_t firstNumber,
             unsigned lowestHeight, FindBelow findBelow);

  // A file that goes down to the leaves.
  NodeWriter(const Store& store, CheckpointFile& file, const Stop& stop, uint64_t firstNumber);

  // Writes what is at and below `top`, which may be null and stands at `height`, unless it is there
  // already. Returns its number, 0 for null. If stopped() then, the file is of no more use.
  uint64_t write(NodeRef top, unsigned height);

  uint64_t count() const { return next - first; }
  bool stopped() const { return stopRequested; }

private:
  enum class Place : uint8_t { TOP, BELOW };
  uint64_t visit(NodeRef node, unsigned height, unsigned prefix, Place place);
  void writeLeaf(NodeRef node, unsigned height);
  void prefetch(NodeRef node) const;

  const Store& store;
  CheckpointFile& file;
  const Stop& stop;
  const uint64_t first;
  const unsigned lowestHeight;
  FindBelow findBelow;

  NodeNumbers written;
  uint64_t next;  // Number of the next node.
  bool stopRequested = false;
};

}  // namespace ledger
