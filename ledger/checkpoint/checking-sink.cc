// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/checking-sink.h"

#include "ledger/checkpoint/names.h"
#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"

#include <kj/debug.h>
#include <kj/encoding.h>

#include <algorithm>

namespace ledger {
namespace {

// Nodes that are hashed together, in lanes.
constexpr size_t BATCH = 64;

struct Place {
  uint64_t offset;  // In the part's file.
  unsigned height;
};

struct PendingLeaf {
  Place place;
  Path path;
  Hash atBottom;  // Its hash at height 0.
  uint16_t height;
  Hash stored, computed;
};

struct PendingInterior {
  Place place;
  const Hash* left;
  const Hash* right;
  Hash stored, computed;
};

}  // namespace

// The hashes of one part. Nodes wait until there is a batch, which is possible as each is held to
// the stored hashes of its children.
class CheckingSink::PartHashes final {
public:
  PartHashes(kj::StringPtr checkpoint, unsigned part, uint64_t nodes)
      : file(checkpointPartName(checkpoint, part)),
        isTop(part == CHECKPOINT_TOP_PART),
        nodes(nodes),
        offset(isTop ? CHECKPOINT_TOP_PREFIX : CHECKPOINT_PREFIX_SIZE) {}

  void addLeaf(uint64_t index, unsigned height, const Hash& hash, const Path& path,
               kj::Maybe<Payload> payload) {
    Place place{offset, height};
    keep(index, height, hash);
    offset += CHECKPOINT_LEAF_SIZE;
    Value value;
    KJ_IF_MAYBE (stored, payload) {
      constexpr uint64_t LENGTHS = 8;  // Of key and value.
      offset += LENGTHS + stored->size();
      value = stored->value;
    }
    if (value.size() == 0) {
      auto& computed = hash::defaultHash(height);
      if (hash != computed) {
        computeBatch();
        refuse(place, hash, computed);
      }
    } else {
      leaves.add(PendingLeaf{.place = place,
                             .path = path,
                             .atBottom = hash::hashLeaf(path, value),
                             .height = static_cast<uint16_t>(height),
                             .stored = hash,
                             .computed = {}});
    }
    finish(index);
  }

  void addInterior(uint64_t index, unsigned height, const Hash& hash, const Hash& left,
                   const Hash& right) {
    Place place{offset, height};
    keep(index, height, hash);
    offset += CHECKPOINT_INTERIOR_SIZE;
    interiors.add(PendingInterior{
        .place = place, .left = &left, .right = &right, .stored = hash, .computed = {}});
    finish(index);
  }

  // Of a node that came before; of a subtrie part that is complete, only of a subtrie's root.
  const Hash& operator[](uint64_t index) const {
    if (index <= kept.size()) return kept[index - 1];
    auto root = std::lower_bound(roots.begin(), roots.end(), index,
                                 [](const Root& root, uint64_t at) { return root.index < at; });
    KJ_ASSERT(root != roots.end() && root->index == index, file, index);
    return root->hash;
  }

private:
  struct Root {
    uint64_t index;
    Hash hash;
  };

  void keep(uint64_t index, unsigned height, const Hash& hash) {
    if (index == 1) kept = kj::heapArray<Hash>(nodes);
    kept[index - 1] = hash;
    if (!isTop && height == CHECKPOINT_SUBTRIE_HEIGHT) roots.add(Root{index, hash});
  }

  void finish(uint64_t index) {
    if (leaves.size() == BATCH || interiors.size() == BATCH || index == nodes) computeBatch();
    // The top part refers to the subtries' roots alone.
    if (!isTop && index == nodes) kept = nullptr;
  }

  void computeBatch() {
    kj::Vector<hash::ChainJob> chains(leaves.size());
    for (auto& leaf : leaves) {
      chains.add(hash::ChainJob{.path = &leaf.path,
                                .start = leaf.atBottom,
                                .from = 0,
                                .heights = kj::arrayPtr(&leaf.height, 1),
                                .out = &leaf.computed});
    }
    if (chains.size() > 0) hash::runChains(chains);
    kj::Vector<hash::InteriorJob> jobs(interiors.size());
    for (auto& interior : interiors) {
      jobs.add(hash::InteriorJob{interior.left, interior.right, &interior.computed});
    }
    if (jobs.size() > 0) hash::hashInteriors(jobs);

    refuseFirst();
    leaves.clear();
    interiors.clear();
  }

  // A wrong hash also makes its parent wrong: the one that stands first in the file is to blame.
  void refuseFirst() {
    const PendingLeaf* leaf = firstWrong(leaves);
    const PendingInterior* interior = firstWrong(interiors);
    if (leaf != nullptr && (interior == nullptr || leaf->place.offset < interior->place.offset)) {
      refuse(leaf->place, leaf->stored, leaf->computed);
    }
    if (interior != nullptr) refuse(interior->place, interior->stored, interior->computed);
  }

  template <typename Pending>
  static const Pending* firstWrong(const kj::Vector<Pending>& batch) {
    auto wrong = std::find_if(batch.begin(), batch.end(), [](const Pending& pending) {
      return pending.stored != pending.computed;
    });
    return wrong == batch.end() ? nullptr : wrong;
  }

  [[noreturn]] void refuse(const Place& place, const Hash& stored, const Hash& computed) const {
    kj::throwFatalException(kj::Exception(
        kj::Exception::Type::FAILED, __FILE__, __LINE__,
        kj::str("a node's hash does not follow from what is below it: ", file, " at offset ",
                place.offset, ", a node of height ", place.height, ": the file has ",
                kj::encodeHex(stored.ptr()), ", computed is ", kj::encodeHex(computed.ptr()))));
  }

  const kj::String file;
  const bool isTop;
  const uint64_t nodes;

  uint64_t offset;         // Of the next node.
  kj::Array<Hash> kept;    // [index - 1]. Null before the first node and, of a subtrie part, once
                           // it is complete.
  kj::Vector<Root> roots;  // Of subtries, ascending.
  kj::Vector<PendingLeaf> leaves;
  kj::Vector<PendingInterior> interiors;
};

CheckingSink::CheckingSink(kj::StringPtr name, Hashes hashes)
    : name(kj::str(name)), hashes(hashes) {}
CheckingSink::~CheckingSink() noexcept(false) = default;

CheckingSink::Counts CheckingSink::counts() const {
  Counts sum;
  for (auto& counts : countsOf) {
    sum.leaves += counts.leaves;
    sum.emptyLeaves += counts.emptyLeaves;
    sum.interiors += counts.interiors;
    sum.payloadBytes += counts.payloadBytes;
    sum.tries += counts.tries;
  }
  return sum;
}

void CheckingSink::begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t) {
  if (hashes == Hashes::TRUSTED) return;
  auto builder = kj::heapArrayBuilder<kj::Own<PartHashes>>(nodesPerPart.size());
  for (auto part : kj::indices(nodesPerPart)) {
    builder.add(kj::heap<PartHashes>(name, part, nodesPerPart[part]));
  }
  parts = builder.finish();
}

void CheckingSink::leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash,
                        const Path& path, kj::Maybe<Payload> payload) {
  auto& counts = countsOf[part];
  ++counts.leaves;
  uint64_t valueBytes = 0;
  KJ_IF_MAYBE (stored, payload) {
    counts.payloadBytes += stored->size();
    valueBytes = stored->value.size();
  }
  counts.emptyLeaves += valueBytes == 0;
  if (hashes == Hashes::RECOMPUTED) parts[part]->addLeaf(index, height, hash, path, payload);
}

void CheckingSink::interior(unsigned part, uint64_t index, unsigned height, const Hash& hash,
                            ChildRef left, ChildRef right) {
  ++countsOf[part].interiors;
  if (hashes == Hashes::TRUSTED) return;
  parts[part]->addInterior(index, height, hash, hashOf(left, height - 1),
                           hashOf(right, height - 1));
}

void CheckingSink::trie(ChildRef, uint64_t, uint64_t, const RootHash&) {
  ++countsOf[CHECKPOINT_TOP_PART].tries;
}

const Hash& CheckingSink::hashOf(ChildRef child, unsigned height) const {
  return child.isNil() ? hash::defaultHash(height) : (*parts[child.part])[child.index];
}

}  // namespace ledger
