// SPDX-License-Identifier: Apache-2.0
#pragma once
// Turns a checkpoint's records into tries of a store: the nodes keep their stored hashes and the
// sharing that they had.

#include "ledger/checkpoint/reader.h"
#include "ledger/trie/store.h"
#include "ledger/trie/trie.h"

#include <kj/array.h>
#include <kj/vector.h>

namespace ledger {

// Thread: as CheckpointSink demands: one thread at a time for each part. Throws if memory runs out
// or the records make no tries. Nodes that no trie took are given back by the destructor.
class CheckpointLoader final : public CheckpointSink {
public:
  explicit CheckpointLoader(kj::Own<const Store> store);
  ~CheckpointLoader() noexcept(false);
  KJ_DISALLOW_COPY(CheckpointLoader);

  // After the checkpoint was read, once: its tries in file order, repeated ones included.
  kj::Array<kj::Own<const Trie>> takeTries() { return tries.releaseAsArray(); }

  void begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t tries) override;
  void leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash, const Path& path,
            kj::Maybe<Payload> payload) override;
  void interior(unsigned part, uint64_t index, unsigned height, const Hash& hash, ChildRef left,
                ChildRef right) override;
  void trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
            const RootHash& rootHash) override;

private:
  // The nodes of a part, and free slots for those to come.
  struct Part {
    kj::Array<NodeRef> nodes;  // [index], each with one reference of ours; [0] is null.
    kj::Vector<uint64_t> slots;
  };

  uint64_t takeSlot(Part& part);
  NodeRef find(ChildRef child) const;
  NodeRef adopt(ChildRef child) const;

  kj::Own<const Store> store;
  shm::Reservation reservation;  // Of the lists of nodes.
  kj::Array<Part> parts;
  kj::Vector<kj::Own<const Trie>> tries;
};

}  // namespace ledger
