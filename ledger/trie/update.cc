// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/update.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger {

namespace {

constexpr size_t NONE = ~size_t(0);

// A leaf climbs from the nearest hash of it that is known: that of the leaf it replaces, if lower;
// the one kept in its record, if lower; else from the bottom.
struct Climb {
  size_t node;
  size_t message;  // Index of its height-0 hash, or NONE.
  uint16_t heights[2];
  uint8_t count;
  Hash out[2];
};

}  // namespace

TrieUpdater::TrieUpdater(kj::Own<const Trie> parent)
    : parent(kj::mv(parent)), store(this->parent->store()) {}

TrieUpdater::~TrieUpdater() noexcept(false) {
  if (!reserved) return;
  for (auto record : records) store.payloads.release(record);
  for (auto slot : slots) KJ_ASSERT(store.nodes.release(NodeRef::interior(slot)));
  store.nodes.free(slots);
}

bool TrieUpdater::plan(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads,
                       const Stop& stop) {
  KJ_REQUIRE(paths.size() == payloads.size());
  KJ_REQUIRE(paths.size() < FROM_NODE, "an update of more registers than can be numbered");

  auto order = kj::heapArray<uint32_t>(paths.size());
  for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    auto byPath = paths[a] <=> paths[b];
    return byPath != 0 ? byPath < 0 : a < b;
  });
  entries.reserve(order.size());
  for (auto i : order) {
    if (entries.size() > 0 && *entries.back().path == paths[i]) {
      entries.back().payload = &payloads[i];
    } else {
      entries.add(Entry{&paths[i], &payloads[i]});
    }
  }

  size = parent->size();
  auto top = descend(TRIE_HEIGHT, parent->root(), nullptr, 0, entries.size(), stop);
  root = settle(TRIE_HEIGHT, top);
  return !stopped;
}

// The entry point of flow-go's recursion: entries [begin, end) lie below this position; `current`
// stands here in the parent; `carried` is a leaf that came down from above.
TrieUpdater::Subtrie TrieUpdater::descend(unsigned height, NodeRef current,
                                          kj::Maybe<NodeRef> carried, uint32_t begin, uint32_t end,
                                          const Stop& stop) {
  auto existing = [](NodeRef node) {
    return Subtrie{node.isNull() ? Subtrie::Kind::NONE : Subtrie::Kind::EXISTING, node, {}, 0};
  };

  if (begin == end) {
    KJ_IF_MAYBE (leaf, carried) {
      return placeLeaf({FROM_NODE, *leaf});
    }
    return existing(current);
  }
  if (stopped) return {};
  if (stop.requested()) {
    stopped = true;
    return {};
  }

  if (end - begin == 1 && current.isNull() && carried == nullptr) {
    const auto& payload = *entries[begin].payload;
    if (payload.value.size() > 0) {
      size.registers += 1;
      size.bytes += payload.size();
    }
    return placeLeaf({begin, {}});
  }

  NodeRef left, right;
  if (current.isLeaf()) {
    auto old = store.payload(current);
    auto found =
        std::lower_bound(entries.begin() + begin, entries.begin() + end, old.path(),
                         [](const Entry& entry, const Path& path) { return *entry.path < path; });
    if (found != entries.begin() + end && *found->path == old.path()) {
      auto oldSize = old.key().size() + old.value().size();
      if (end - begin == 1) {
        const auto& payload = *found->payload;
        if (old.value() == payload.value) return existing(current);  // The stored key stays.
        if (payload.value.size() == 0) {
          size.registers -= 1;
        } else if (old.value().size() == 0) {
          size.registers += 1;
        }
        size.bytes += payload.size() - oldSize;  // May wrap, as flow-go's does.
        return placeLeaf({begin, {}});
      }
      if (old.value().size() > 0) size.registers -= 1;
      size.bytes -= oldSize;
    } else {
      carried = current;
    }
  } else if (!current.isNull()) {
    const auto& interior = store.nodes.interior(current);
    left = interior.left;
    right = interior.right;
  }

  KJ_REQUIRE(height > 0, "a node with children at height 0: the trie is corrupt");
  unsigned depth = TRIE_HEIGHT - height;
  auto middle = split(begin, end, depth);
  kj::Maybe<NodeRef> carriedLeft, carriedRight;
  KJ_IF_MAYBE (leaf, carried) {
    (store.payload(*leaf).path().bit(depth) ? carriedRight : carriedLeft) = *leaf;
  }
  auto newLeft = descend(height - 1, left, carriedLeft, begin, middle, stop);
  auto newRight = descend(height - 1, right, carriedRight, middle, end, stop);
  if (stopped) return {};

  if (!current.isNull() && !current.isLeaf()) {
    auto same = [](const Subtrie& subtrie, NodeRef node) {
      return node.isNull() ? subtrie.kind == Subtrie::Kind::NONE
                           : subtrie.kind == Subtrie::Kind::EXISTING && subtrie.node == node;
    };
    if (same(newLeft, left) && same(newRight, right)) return existing(current);
  }
  return join(height, newLeft, newRight);
}

// The first entry of [begin, end) whose path has bit `depth` set.
uint32_t TrieUpdater::split(uint32_t begin, uint32_t end, unsigned depth) const {
  auto middle = std::partition_point(entries.begin() + begin, entries.begin() + end,
                                     [&](const Entry& entry) { return !entry.path->bit(depth); });
  return middle - entries.begin();
}

bool TrieUpdater::isLeaf(const Subtrie& subtrie) const {
  return subtrie.kind == Subtrie::Kind::LEAF ||
         (subtrie.kind == Subtrie::Kind::EXISTING && subtrie.node.isLeaf());
}

// Whether the subtrie's hash is that of an empty one. A planned interior node always holds a
// register: join() makes none otherwise.
bool TrieUpdater::isDefault(unsigned height, const Subtrie& subtrie) const {
  switch (subtrie.kind) {
    case Subtrie::Kind::NONE:
      return true;
    case Subtrie::Kind::EXISTING:
      return store.nodes.hash(subtrie.node) == hash::defaultHash(height);
    case Subtrie::Kind::LEAF:
      return subtrie.source.entry == FROM_NODE
                 ? store.payload(subtrie.source.node).value().size() == 0
                 : entries[subtrie.source.entry].payload->value.size() == 0;
    case Subtrie::Kind::PLANNED:
      return false;
  }
  KJ_UNREACHABLE;
}

// An interior node of these children, unless fewer nodes can say the same.
TrieUpdater::Subtrie TrieUpdater::join(unsigned height, Subtrie left, Subtrie right) {
  if (isDefault(height - 1, left)) left = {};
  if (isDefault(height - 1, right)) right = {};
  bool noLeft = left.kind == Subtrie::Kind::NONE;
  bool noRight = right.kind == Subtrie::Kind::NONE;
  if (noLeft && noRight) return {};
  if (noLeft != noRight) {
    const auto& only = noLeft ? right : left;
    if (isLeaf(only)) {
      return only.kind == Subtrie::Kind::LEAF ? only : placeLeaf({FROM_NODE, only.node});
    }
  }
  PlannedNode node{
      uint16_t(height), false, {}, settle(height - 1, left), settle(height - 1, right)};
  planned.add(node);
  return {Subtrie::Kind::PLANNED, {}, {}, uint32_t(planned.size() - 1)};
}

// Makes `subtrie` the child of something: a leaf that was free to rise gets its node here.
TrieUpdater::Child TrieUpdater::settle(unsigned height, const Subtrie& subtrie) {
  switch (subtrie.kind) {
    case Subtrie::Kind::NONE:
      return {};
    case Subtrie::Kind::EXISTING:
      return {Child::Kind::EXISTING, subtrie.node, 0};
    case Subtrie::Kind::LEAF:
      planned.add(PlannedNode{uint16_t(height), true, subtrie.source, {}, {}});
      return {Child::Kind::PLANNED, {}, uint32_t(planned.size() - 1)};
    case Subtrie::Kind::PLANNED:
      return {Child::Kind::PLANNED, {}, subtrie.planned};
  }
  KJ_UNREACHABLE;
}

uint64_t TrieUpdater::workingBytes() const {
  // Vectors double as they grow. A leaf's jobs are larger than an interior node's.
  constexpr uint64_t LEAF = 2 * (sizeof(Climb) + sizeof(hash::Message) + sizeof(hash::ChainJob)) +
                            sizeof(Hash) + sizeof(PayloadHandle);
  constexpr uint64_t NODE =
      2 * (sizeof(PlannedNode) + sizeof(size_t) + sizeof(hash::InteriorJob)) + sizeof(uint64_t);
  uint64_t leaves = 0;
  for (const auto& node : planned) leaves += node.isLeaf;
  return planned.size() * NODE + leaves * LEAF;
}

kj::Maybe<shm::Shortage> TrieUpdater::reserve() {
  kj::Vector<PayloadStore::Lengths> lengths;
  for (const auto& node : planned) {
    if (!node.isLeaf || node.source.entry == FROM_NODE) continue;
    auto& entry = entries[node.source.entry];
    entry.record = lengths.size();
    lengths.add(PayloadStore::Lengths{uint32_t(entry.payload->key.size()),
                                      uint32_t(entry.payload->value.size())});
  }
  auto newRecords = kj::heapArray<PayloadHandle>(lengths.size());
  auto newSlots = kj::heapArray<uint64_t>(planned.size());
  KJ_IF_MAYBE (shortage, store.payloads.allocate(lengths, newRecords)) {
    return kj::mv(*shortage);
  }
  KJ_ON_SCOPE_FAILURE(for (auto record : newRecords) store.payloads.release(record));
  KJ_IF_MAYBE (shortage, store.nodes.allocate(newSlots)) {
    for (auto record : newRecords) store.payloads.release(record);
    return kj::mv(*shortage);
  }
  records = kj::mv(newRecords);
  slots = kj::mv(newSlots);
  reserved = true;
  return nullptr;
}

NodeRef TrieUpdater::refOf(const Child& child) const {
  switch (child.kind) {
    case Child::Kind::NONE:
      return {};
    case Child::Kind::EXISTING:
      return child.node;
    case Child::Kind::PLANNED:
      return planned[child.planned].isLeaf ? NodeRef::leaf(slots[child.planned])
                                           : NodeRef::interior(slots[child.planned]);
  }
  KJ_UNREACHABLE;
}

const Hash& TrieUpdater::hashOf(unsigned height, const Child& child) const {
  auto ref = refOf(child);
  return ref.isNull() ? hash::defaultHash(height) : store.nodes.hash(ref);
}

kj::Own<const Trie> TrieUpdater::build() noexcept {
  KJ_REQUIRE(reserved);
  reserved = false;  // From here on the nodes hold the records, and the trie the nodes.
  writeNodes();
  hashLeaves();
  hashInteriors();
  auto top = refOf(root);
  if (root.kind == Child::Kind::EXISTING) store.nodes.addRef(top);
  return kj::atomicRefcounted<Trie>(kj::atomicAddRef(store), top, size);
}

void TrieUpdater::writeNodes() noexcept {
  uint64_t leaves = 0;
  for (size_t i = 0; i < planned.size(); ++i) {
    const auto& node = planned[i];
    if (!node.isLeaf) {
      auto& slot = store.nodes.writeInterior(slots[i]);
      slot.left = refOf(node.left);
      slot.right = refOf(node.right);
      for (const auto* child : {&node.left, &node.right}) {
        if (child->kind == Child::Kind::EXISTING) store.nodes.addRef(child->node);
      }
      continue;
    }
    ++leaves;
    PayloadHandle record;
    if (node.source.entry == FROM_NODE) {
      const auto& old = store.nodes.leaf(node.source.node);
      record = {old.payload, old.payloadCounter()};
      store.payloads.addRef(record.counter);
    } else {
      const auto& entry = entries[node.source.entry];
      record = records[entry.record];
      store.payloads.write(record.ref, *entry.path, *entry.payload);
    }
    auto& slot = store.nodes.writeLeaf(slots[i]);
    slot.payload = record.ref;
    slot.meta = record.counter << 16 | node.height;
  }
  store.countLeaves(leaves);
}

void TrieUpdater::hashLeaves() noexcept {
  kj::Vector<Climb> climbs;
  kj::Vector<hash::Message> messages;
  kj::Vector<hash::ChainJob> jobs;

  for (size_t i = 0; i < planned.size(); ++i) {
    const auto& node = planned[i];
    if (!node.isLeaf) continue;
    auto& slot = store.nodes.writeLeaf(slots[i]);
    auto payload = store.payloads.view(slot.payload);
    if (payload.value().size() == 0) {
      slot.hash = hash::defaultHash(node.height);
      continue;
    }
    Climb climb{i, NONE, {node.height, 0}, 1, {}};
    hash::ChainJob job{&payload.path(), {}, 0, nullptr, nullptr};
    bool known = false;
    if (node.source.entry == FROM_NODE) {
      const auto& old = store.nodes.leaf(node.source.node);
      if (old.height() <= node.height) {
        job.start = old.hash;
        job.from = old.height();
        known = true;
      } else KJ_IF_MAYBE (chain, payload.chainHash()) {
        if (node.height >= CHAIN_HEIGHT) {
          job.start = *chain;
          job.from = CHAIN_HEIGHT;
          known = true;
        }
      }
    }
    if (!known) {
      climb.message = messages.size();
      messages.add(hash::Message{payload.path().ptr(), payload.value()});
      if (node.source.entry != FROM_NODE && node.height >= CHAIN_HEIGHT) {
        climb.heights[0] = CHAIN_HEIGHT;
        climb.heights[1] = node.height;
        climb.count = 2;
      }
    }
    climbs.add(climb);
    jobs.add(job);
  }

  auto bottoms = kj::heapArray<Hash>(messages.size());
  hash::sha3(messages, bottoms);
  for (size_t i = 0; i < jobs.size(); ++i) {
    auto& climb = climbs[i];
    if (climb.message != NONE) jobs[i].start = bottoms[climb.message];
    jobs[i].heights = kj::arrayPtr(climb.heights, climb.count);
    jobs[i].out = climb.out;
  }
  hash::runChains(jobs);

  for (const auto& climb : climbs) {
    auto& slot = store.nodes.writeLeaf(slots[climb.node]);
    slot.hash = climb.out[climb.count - 1];
    if (climb.count == 2) {
      auto& header = store.payloads.writeHeader(slot.payload);
      header.chainHash = climb.out[0];
      header.keyWord |= PayloadHeader::HAS_CHAIN;
    }
  }
}

void TrieUpdater::hashInteriors() noexcept {
  kj::Vector<size_t> interiors;
  for (size_t i = 0; i < planned.size(); ++i) {
    if (!planned[i].isLeaf) interiors.add(i);
  }
  std::stable_sort(interiors.begin(), interiors.end(),
                   [&](size_t a, size_t b) { return planned[a].height < planned[b].height; });
  kj::Vector<hash::InteriorJob> jobs;
  for (size_t i = 0; i < interiors.size();) {
    auto height = planned[interiors[i]].height;
    jobs.clear();
    for (; i < interiors.size() && planned[interiors[i]].height == height; ++i) {
      const auto& node = planned[interiors[i]];
      jobs.add(hash::InteriorJob{&hashOf(height - 1, node.left), &hashOf(height - 1, node.right),
                                 &store.nodes.writeInterior(slots[interiors[i]]).hash});
    }
    hash::hashInteriors(jobs);
  }
}

}  // namespace ledger
