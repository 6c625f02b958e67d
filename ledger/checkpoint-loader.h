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
  kj::Array<kj::Own<const Trie>> takeTries();

  void begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t tries) override;
  void leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash, const Path& path,
            kj::Maybe<Payload> payload) override;
  void interior(unsigned part, uint64_t index, unsigned height, const Hash& hash, ChildRef left,
                ChildRef right) override;
  void trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
            const RootHash& rootHash) override;

private:
  // A leaf whose payload has no record yet: records are made many at a time.
  struct Pending {
    uint64_t slot;
    Path path;
    bool exists;  // The file has a payload object for it.
    PayloadStore::Lengths lengths;
    PayloadHandle shared;  // A record that is the same, or null.
  };
  // An interior node that has no children yet. Those of a few nodes are looked up together, so that
  // the memory of one is on its way while another is dealt with.
  struct Parent {
    uint64_t slot;
    ChildRef left;
    ChildRef right;
  };
  // The nodes of a part, and free slots for those to come.
  struct Part {
    // [index]; [0] is null; as many as have come, with room for all. A slot begins with one
    // reference, which is ours until a parent, or a trie, takes it over: then `isTaken` is set, and
    // others get references of their own.
    kj::Vector<NodeRef> nodes;
    kj::Array<uint64_t> isTaken;  // Bit [index].
    kj::Array<uint64_t> slots;
    size_t usedSlots = 0;  // Of `slots`, from the front.
    kj::Vector<Pending> pending;
    kj::Vector<kj::byte> payloadBytes;  // Of the pending ones: keys and values, back to back.
    // The last record of the paths that begin alike. A file repeats the payload of a leaf that was
    // pushed down; it is stored once, unless another path's has come between.
    kj::Array<PayloadHandle> recent;
    kj::Vector<Parent> parents;
  };

  uint64_t takeSlot(Part& part);
  void complete(Part& part);
  void writeChildren(Part& part);
  void writePending(Part& part);
  PayloadHandle& recentOf(Part& part, const Path& path) const;
  bool isRecordOf(PayloadHandle handle, const Pending& leaf, const Payload& payload) const;
  void shareRecords(Part& part, kj::ArrayPtr<const Payload> payloads);
  void writeRecords(Part& part, kj::ArrayPtr<const Pending> leaves,
                    kj::ArrayPtr<const Payload> payloads);
  NodeRef find(ChildRef child) const;
  NodeRef adopt(ChildRef child, kj::Vector<NodeRef>& shared);

  kj::Own<const Store> store;
  shm::Reservation reservation;  // Of the lists of nodes.
  kj::Array<Part> parts;
  kj::Vector<kj::Own<const Trie>> tries;
};

}  // namespace ledger
