// SPDX-License-Identifier: Apache-2.0
#pragma once
// One state: an immutable Merkle trie that shares nodes with the tries it came from.
//
// A register sits in the highest leaf whose subtrie holds no other register; bit d of a path
// chooses the child of the interior node at depth d. Tries read from files need not be that
// compact: a leaf may be empty, an interior node may have the hash of an empty subtrie.

#include "ledger/model.h"
#include "ledger/stop.h"
#include "ledger/trie/descend.h"
#include "ledger/trie/store.h"

#include <kj/refcount.h>

namespace ledger {

// Thread: immutable; every method may be called from any thread. The last reference gives back the
// nodes that no other trie shares, in time proportional to their number.
class Trie final : public kj::AtomicRefcounted {
public:
  // What flow-go counts, and writes into checkpoints.
  struct Size {
    uint64_t registers = 0;  // Leaves with a value.
    uint64_t bytes = 0;      // flow-go's regSize, with its drift (docs/formats.md).
  };

  // The trie without registers.
  static kj::Own<const Trie> empty(kj::Own<const Store> store);

  // Takes over one reference to `root`, which may be null.
  Trie(kj::Own<const Store> store, NodeRef root, Size size);
  ~Trie() noexcept(false);

  const RootHash& rootHash() const { return hash; }
  NodeRef root() const { return rootNode; }
  Size size() const { return counted; }
  const Store& store() const { return *nodes; }

  // The leaf at exactly this path; it may be empty. Valid as long as the trie.
  kj::Maybe<PayloadView> find(const Path& path) const;

  // out[i] is the record of find(paths[i]), or null: see descend().
  void find(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const PayloadHeader*> out,
            Nearby nearby = Nearby::NOTHING) const;

  // The register's value; empty if unallocated. Valid as long as the trie.
  Value read(const Path& path) const;

private:
  kj::Own<const Store> nodes;
  NodeRef rootNode;
  RootHash hash;
  Size counted;
};

}  // namespace ledger
