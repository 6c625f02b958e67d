// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/update.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"

#include <kj/debug.h>

#include <array>

namespace ledger {

namespace {

constexpr size_t NONE = ~size_t(0);

// A leaf climbs from the nearest hash of it that is known: that of the leaf it replaces, if lower;
// the one kept in its record, if lower; else from the bottom.
struct Climb {
  uint64_t slot;
  size_t message;  // Index of its height-0 hash, or NONE.
  uint16_t heights[2];
  uint8_t count;
  Hash out[2];
};

}  // namespace

TrieUpdater::TrieUpdater(kj::Own<const Trie> parent, const ThreadPool& pool)
    : parent(kj::mv(parent)),
      store(this->parent->store()),
      pool(pool),
      planned(*this->parent, pool) {}

TrieUpdater::~TrieUpdater() noexcept(false) {
  if (!reserved) return;
  for (auto record : records) store.payloads.release(record);
  for (auto slot : slots) KJ_ASSERT(store.nodes.release(NodeRef::interior(slot)));
  store.nodes.free(slots);
}

bool TrieUpdater::plan(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads,
                       const Stop& stop) {
  return planned.run(paths, payloads, stop);
}

TrieUpdater::Figures TrieUpdater::figures() const {
  uint64_t bytes = 0;
  for (const auto& entry : planned.entries()) bytes += entry.payload->size();
  return {planned.entries().size(), bytes, TRIE_HEIGHT - planned.lowestHeight(), parent->size(),
          planned.size()};
}

uint64_t TrieUpdater::workingBytes() const {
  // Vectors double as they grow. A leaf's jobs are larger than an interior node's.
  constexpr uint64_t LEAF = 2 * (sizeof(Climb) + sizeof(hash::Message) + sizeof(hash::ChainJob)) +
                            sizeof(Hash) + sizeof(PayloadHandle) + 2 * sizeof(uint32_t);
  constexpr uint64_t NODE = 2 * sizeof(PlannedNode) + sizeof(uint32_t) +
                            sizeof(hash::InteriorJob) + sizeof(uint64_t);
  uint64_t leaves = 0;
  for (const auto& part : planned.parts()) leaves += part.leaves;
  return planned.nodeCount() * NODE + leaves * LEAF;
}

kj::Maybe<shm::Shortage> TrieUpdater::reserve() {
  kj::Vector<PayloadStore::Lengths> lengths;
  for (const auto& part : planned.parts()) {
    for (auto entry : part.entries) {
      const auto& payload = *planned.entries()[entry].payload;
      lengths.add(PayloadStore::Lengths{uint32_t(payload.key.size()),
                                        uint32_t(payload.value.size())});
    }
  }
  auto newRecords = kj::heapArray<PayloadHandle>(lengths.size());
  auto newSlots = kj::heapArray<uint64_t>(planned.nodeCount());
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

NodeRef TrieUpdater::refOf(PlannedChild child) const {
  if (!child.isPlanned()) return child.node();
  const auto slot = slots[child.number()];
  return child.isLeaf() ? NodeRef::leaf(slot) : NodeRef::interior(slot);
}

const Hash& TrieUpdater::hashOf(unsigned height, PlannedChild child) const {
  auto ref = refOf(child);
  return ref.isNull() ? hash::defaultHash(height) : store.nodes.hash(ref);
}

kj::Own<const Trie> TrieUpdater::build() noexcept {
  KJ_REQUIRE(reserved);
  reserved = false;  // From here on the nodes hold the records, and the trie the nodes.
  auto parts = planned.parts();
  auto firstRecords = kj::heapArray<size_t>(parts.size() + 1);
  firstRecords[0] = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    firstRecords[i + 1] = firstRecords[i] + parts[i].entries.size();
  }
  auto buildOne = [&](size_t i) {
    buildPart(parts[i], records.slice(firstRecords[i], firstRecords[i + 1]));
  };
  // The last one stands on the others.
  pool.forEach(parts.size() - 1, 1, [&](size_t i, size_t) { buildOne(i); });
  buildOne(parts.size() - 1);

  auto top = refOf(planned.root());
  if (!planned.root().isPlanned() && !top.isNull()) store.nodes.addRef(top);
  return kj::atomicRefcounted<Trie>(kj::atomicAddRef(store), top, planned.size());
}

void TrieUpdater::buildPart(const PlannedPart& part,
                            kj::ArrayPtr<const PayloadHandle> ownRecords) const {
  writeNodes(part, ownRecords);
  hashLeaves(part);
  hashInteriors(part);
}

void TrieUpdater::writeNodes(const PlannedPart& part,
                             kj::ArrayPtr<const PayloadHandle> ownRecords) const {
  const auto* nextRecord = ownRecords.begin();
  for (size_t i = 0; i < part.nodes.size(); ++i) {
    const auto& node = part.nodes[i];
    const auto slotNumber = slots[part.base + i];
    if (!node.isLeaf) {
      auto& slot = store.nodes.writeInterior(slotNumber);
      slot.left = refOf(node.left);
      slot.right = refOf(node.right);
      for (auto child : {node.left, node.right}) {
        if (!child.isNull() && !child.isPlanned()) store.nodes.addRef(child.node());
      }
      continue;
    }
    PayloadHandle record;
    if (node.entry == PlannedNode::NO_ENTRY) {
      const auto& old = store.nodes.leaf(node.left.node());
      record = {old.payload, old.payloadCounter()};
      store.payloads.addRef(record.counter);
    } else {
      const auto& entry = planned.entries()[node.entry];
      record = *nextRecord++;
      store.payloads.write(record.ref, *entry.path, *entry.payload);
    }
    auto& slot = store.nodes.writeLeaf(slotNumber);
    slot.payload = record.ref;
    slot.meta = record.counter << 16 | node.height;
  }
  KJ_ASSERT(nextRecord == ownRecords.end());
  store.countLeaves(part.leaves);
}

void TrieUpdater::hashLeaves(const PlannedPart& part) const {
  kj::Vector<Climb> climbs;
  kj::Vector<hash::Message> messages;
  kj::Vector<hash::ChainJob> jobs;

  for (size_t i = 0; i < part.nodes.size(); ++i) {
    const auto& node = part.nodes[i];
    if (!node.isLeaf) continue;
    const auto slotNumber = slots[part.base + i];
    auto& slot = store.nodes.writeLeaf(slotNumber);
    auto payload = store.payloads.view(slot.payload);
    if (payload.value().size() == 0) {
      slot.hash = hash::defaultHash(node.height);
      continue;
    }
    Climb climb{slotNumber, NONE, {node.height, 0}, 1, {}};
    hash::ChainJob job{&payload.path(), {}, 0, nullptr, nullptr};
    bool known = false;
    if (node.entry == PlannedNode::NO_ENTRY) {
      const auto& old = store.nodes.leaf(node.left.node());
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
      if (node.entry != PlannedNode::NO_ENTRY && node.height >= CHAIN_HEIGHT) {
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
    auto& slot = store.nodes.writeLeaf(climb.slot);
    slot.hash = climb.out[climb.count - 1];
    if (climb.count == 2) {
      auto& header = store.payloads.writeHeader(slot.payload);
      header.chainHash = climb.out[0];
      header.keyWord |= PayloadHeader::HAS_CHAIN;
    }
  }
}

void TrieUpdater::hashInteriors(const PlannedPart& part) const {
  // Level by level from below: as many nodes at each height, then where those of each begin.
  std::array<uint32_t, TRIE_HEIGHT + 2> begins{};
  for (const auto& node : part.nodes) {
    if (!node.isLeaf) ++begins[node.height + 1];
  }
  for (size_t height = 1; height < begins.size(); ++height) begins[height] += begins[height - 1];
  auto byHeight = kj::heapArray<uint32_t>(begins.back());
  auto next = begins;
  for (uint32_t i = 0; i < part.nodes.size(); ++i) {
    if (!part.nodes[i].isLeaf) byHeight[next[part.nodes[i].height]++] = i;
  }
  kj::Vector<hash::InteriorJob> jobs;
  for (unsigned height = 1; height <= TRIE_HEIGHT; ++height) {
    jobs.clear();
    for (auto i : byHeight.slice(begins[height], begins[height + 1])) {
      const auto& node = part.nodes[i];
      jobs.add(hash::InteriorJob{&hashOf(height - 1, node.left), &hashOf(height - 1, node.right),
                                 &store.nodes.writeInterior(slots[part.base + i]).hash});
    }
    if (jobs.size() > 0) hash::hashInteriors(jobs);
  }
}

}  // namespace ledger
