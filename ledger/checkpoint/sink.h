// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where a checkpoint's nodes and tries go while it is read.

#include "ledger/model.h"

#include <kj/array.h>

namespace ledger {

// A node of the checkpoint that is being read: its part, and its index there from 1 on in the order
// of the file. Index 0 is no node: an empty subtrie.
struct ChildRef {
  unsigned part = 0;
  uint64_t index = 0;

  bool isNil() const { return index == 0; }
  bool operator==(const ChildRef&) const = default;
};

// Implemented by who builds tries. Bytes passed in are valid during the call only. An exception
// thrown by a method ends the reading and comes out of readCheckpoint(). Nothing is certain before
// that has returned: the checksum of a part is known only at its end.
//
// Thread: nodes of different subtrie parts (0 to 15) arrive from several threads at once, those of
// one part from one thread, in the order of the file. begin() comes before them all. The top part
// and the tries come after all subtrie parts, from the thread that reads, which sees what the
// others did.
class CheckpointSink {
public:
  // The number of nodes of each of the 17 parts, and of tries (at least 1): checked against the
  // files' sizes, so that memory may be reserved for them.
  virtual void begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t tries) = 0;

  // A compact leaf. `payload` is null if the file has no payload object; else its value may be
  // empty. In a subtrie part the path begins with the part's number.
  virtual void leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash,
                    const Path& path, kj::Maybe<Payload> payload) = 0;

  // Children came before. That they stand at height - 1 is certain, as all else, only when
  // readCheckpoint() has returned. Both may be nil: nothing in the format forbids it.
  virtual void interior(unsigned part, uint64_t index, unsigned height, const Hash& hash,
                        ChildRef left, ChildRef right) = 0;

  // A root that is not nil is a node of the top part of height 256 with this hash; a nil one is the
  // empty trie, with its hash. The same trie may come more than once. Oldest first.
  virtual void trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
                    const RootHash& rootHash) = 0;

protected:
  ~CheckpointSink() = default;
};

}  // namespace ledger
