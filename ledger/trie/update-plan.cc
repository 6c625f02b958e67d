// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/update-plan.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/path-order.h"

#include <kj/debug.h>

#include <algorithm>
#include <bit>

namespace ledger {

namespace {

// Subtries with fewer entries are not worth a part of their own.
constexpr size_t ENTRIES_PER_PART = 16;
// Of parts for each thread: enough that none waits long for the last one.
constexpr size_t PARTS_PER_THREAD = 8;
constexpr unsigned MAX_SEAM_DEPTH = 10;

// What stands at one position of the new trie. A LEAF has no node yet: it may still rise, and gets
// its node where it comes to rest.
struct Subtrie {
  enum class Kind : uint8_t { NONE, EXISTING, LEAF, PLANNED } kind = Kind::NONE;
  uint32_t entry = PlannedNode::NO_ENTRY;  // LEAF
  NodeRef node;                            // EXISTING; LEAF without an entry: shares its payload.
  uint64_t number = 0;                     // PLANNED: an interior node.

  static Subtrie existing(NodeRef node) {
    return node.isNull() ? Subtrie() : Subtrie{Kind::EXISTING, PlannedNode::NO_ENTRY, node, 0};
  }
  static Subtrie leafOf(uint32_t entry) { return {Kind::LEAF, entry, {}, 0}; }
  static Subtrie leafAs(NodeRef node) { return {Kind::LEAF, PlannedNode::NO_ENTRY, node, 0}; }

  bool isLeaf() const {
    return kind == Kind::LEAF || (kind == Kind::EXISTING && node.isLeaf());
  }
};

// A position at the seam, where a subtrie is planned on its own.
struct Task {
  NodeRef current;
  kj::Maybe<NodeRef> carried;
  uint32_t begin, end;
  Subtrie result;
};

// Plans one part.
class Planner {
public:
  // What to do at the seam: nothing special; note the task and turn back; take the task's result.
  enum class Seam { NONE, FIND, CROSS };

  Planner(const Store& store, kj::ArrayPtr<const UpdateEntry> entries, const Stop& stop,
          PlannedPart& part)
      : store(store), entries(entries), stop(stop), part(part) {}

  void setSeam(Seam to, unsigned height, kj::Vector<Task>& list) {
    seam = to;
    seamHeight = height;
    tasks = &list;
    nextTask = list.begin();
  }

  bool wasStopped() const { return stopped; }

  // The entry point of flow-go's recursion: entries [begin, end) lie below this position;
  // `current` stands here in the parent; `carried` is a leaf that came down from above.
  Subtrie descend(unsigned height, NodeRef current, kj::Maybe<NodeRef> carried, uint32_t begin,
                  uint32_t end) {
    part.lowest = std::min(part.lowest, height);
    if (begin == end) {
      KJ_IF_MAYBE (leaf, carried) return Subtrie::leafAs(*leaf);
      return Subtrie::existing(current);
    }
    if (stopped) return {};
    if (stop.requested()) {
      stopped = true;
      return {};
    }
    if (seam != Seam::NONE && height == seamHeight) {
      if (seam == Seam::CROSS) return (nextTask++)->result;
      tasks->add(Task{current, carried, begin, end, {}});
      return {};
    }

    if (end - begin == 1 && current.isNull() && carried == nullptr) {
      const auto& payload = *entries[begin].payload;
      if (payload.value.size() > 0) {
        part.change.registers += 1;
        part.change.bytes += payload.size();
      }
      return Subtrie::leafOf(begin);
    }

    NodeRef left, right;
    if (current.isLeaf()) {
      auto old = store.payload(current);
      auto found = std::lower_bound(
          entries.begin() + begin, entries.begin() + end, old.path(),
          [](const UpdateEntry& entry, const Path& path) { return *entry.path < path; });
      if (found != entries.begin() + end && *found->path == old.path()) {
        if (end - begin == 1) return replace(current, old, begin);
        if (old.value().size() > 0) part.change.registers -= 1;
        part.change.bytes -= old.key().size() + old.value().size();
      } else {
        carried = current;
      }
    } else if (!current.isNull()) {
      const auto& interior = store.nodes.interior(current);
      left = interior.left;
      right = interior.right;
      // One of them is where the way leads, the other's hash is looked at by join().
      if (!left.isNull()) store.nodes.prefetch(left);
      if (!right.isNull()) store.nodes.prefetch(right);
    }

    KJ_REQUIRE(height > 0, "a node with children at height 0: the trie is corrupt");
    unsigned depth = TRIE_HEIGHT - height;
    auto middle = split(begin, end, depth);
    kj::Maybe<NodeRef> carriedLeft, carriedRight;
    KJ_IF_MAYBE (leaf, carried) {
      (store.payload(*leaf).path().bit(depth) ? carriedRight : carriedLeft) = *leaf;
    }
    auto newLeft = descend(height - 1, left, carriedLeft, begin, middle);
    auto newRight = descend(height - 1, right, carriedRight, middle, end);
    if (stopped || seam == Seam::FIND) return {};

    if (!current.isNull() && !current.isLeaf()) {
      auto same = [](const Subtrie& subtrie, NodeRef node) {
        return node.isNull() ? subtrie.kind == Subtrie::Kind::NONE
                             : subtrie.kind == Subtrie::Kind::EXISTING && subtrie.node == node;
      };
      if (same(newLeft, left) && same(newRight, right)) return Subtrie::existing(current);
    }
    return join(height, newLeft, newRight);
  }

  // Makes `subtrie` the child of something: a leaf that was free to rise gets its node here.
  PlannedChild settle(unsigned height, const Subtrie& subtrie) {
    switch (subtrie.kind) {
      case Subtrie::Kind::NONE:
        return {};
      case Subtrie::Kind::EXISTING:
        store.nodes.prefetchReferences(subtrie.node);
        return PlannedChild::existing(subtrie.node);
      case Subtrie::Kind::LEAF:
        if (subtrie.entry != PlannedNode::NO_ENTRY) part.entries.add(subtrie.entry);
        ++part.leaves;
        part.nodes.add(PlannedNode{uint16_t(height), true, subtrie.entry,
                                   PlannedChild::existing(subtrie.node), {}});
        return PlannedChild::plannedLeaf(lastNumber());
      case Subtrie::Kind::PLANNED:
        return PlannedChild::plannedInterior(subtrie.number);
    }
    KJ_UNREACHABLE;
  }

private:
  // Of the one entry that is here, a register that was there before.
  Subtrie replace(NodeRef leaf, const PayloadView& old, uint32_t entry) {
    const auto& payload = *entries[entry].payload;
    if (old.value() == payload.value) return Subtrie::existing(leaf);  // The stored key stays.
    if (payload.value.size() == 0) {
      part.change.registers -= 1;
    } else if (old.value().size() == 0) {
      part.change.registers += 1;
    }
    // May wrap, as flow-go's does.
    part.change.bytes += payload.size() - (old.key().size() + old.value().size());
    return Subtrie::leafOf(entry);
  }

  // The first entry of [begin, end) whose path has bit `depth` set.
  uint32_t split(uint32_t begin, uint32_t end, unsigned depth) const {
    auto middle =
        std::partition_point(entries.begin() + begin, entries.begin() + end,
                             [&](const UpdateEntry& entry) { return !entry.path->bit(depth); });
    return middle - entries.begin();
  }

  // Whether the subtrie's hash is that of an empty one. A planned interior node always holds a
  // register: join() makes none otherwise.
  bool isDefault(unsigned height, const Subtrie& subtrie) const {
    switch (subtrie.kind) {
      case Subtrie::Kind::NONE:
        return true;
      case Subtrie::Kind::EXISTING:
        return store.nodes.hash(subtrie.node) == hash::defaultHash(height);
      case Subtrie::Kind::LEAF:
        return subtrie.entry == PlannedNode::NO_ENTRY
                   ? store.payload(subtrie.node).value().size() == 0
                   : entries[subtrie.entry].payload->value.size() == 0;
      case Subtrie::Kind::PLANNED:
        return false;
    }
    KJ_UNREACHABLE;
  }

  // An interior node of these children, unless fewer nodes can say the same.
  Subtrie join(unsigned height, Subtrie left, Subtrie right) {
    if (isDefault(height - 1, left)) left = {};
    if (isDefault(height - 1, right)) right = {};
    bool noLeft = left.kind == Subtrie::Kind::NONE;
    bool noRight = right.kind == Subtrie::Kind::NONE;
    if (noLeft && noRight) return {};
    if (noLeft != noRight) {
      const auto& only = noLeft ? right : left;
      if (only.isLeaf()) {
        return only.kind == Subtrie::Kind::LEAF ? only : Subtrie::leafAs(only.node);
      }
    }
    auto leftChild = settle(height - 1, left);
    auto rightChild = settle(height - 1, right);
    part.nodes.add(
        PlannedNode{uint16_t(height), false, PlannedNode::NO_ENTRY, leftChild, rightChild});
    return {Subtrie::Kind::PLANNED, PlannedNode::NO_ENTRY, {}, lastNumber()};
  }

  uint64_t lastNumber() const { return part.base + part.nodes.size() - 1; }

  const Store& store;
  const kj::ArrayPtr<const UpdateEntry> entries;
  const Stop& stop;
  PlannedPart& part;
  bool stopped = false;

  Seam seam = Seam::NONE;
  unsigned seamHeight = 0;
  kj::Vector<Task>* tasks = nullptr;
  Task* nextTask = nullptr;
};

}  // namespace

void UpdatePlan::sort(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads) {
  KJ_REQUIRE(paths.size() == payloads.size());
  KJ_REQUIRE(paths.size() < PlannedNode::NO_ENTRY,
             "an update of more registers than can be numbered");
  auto order = orderByPath(paths);
  sorted.reserve(order.size());
  for (auto i : order) {
    const auto* path = &paths[i];
    if (sorted.size() > 0 && *sorted.back().path == *path) {
      sorted.back().payload = &payloads[i];
    } else {
      sorted.add(UpdateEntry{path, &payloads[i]});
    }
  }
}

// 0: all in one part.
unsigned UpdatePlan::seamDepth() const {
  if (pool.threads() == 1) return 0;
  const auto parts =
      std::min(sorted.size() / ENTRIES_PER_PART, pool.threads() * PARTS_PER_THREAD);
  return parts < 2 ? 0 : std::min(unsigned(std::bit_width(parts) - 1), MAX_SEAM_DEPTH);
}

bool UpdatePlan::run(kj::ArrayPtr<const Path> paths, kj::ArrayPtr<const Payload> payloads,
                     const Stop& stop) {
  sort(paths, payloads);
  const auto& store = parent.store();
  const auto depth = seamDepth();
  const auto seamHeight = TRIE_HEIGHT - depth;

  kj::Vector<Task> tasks;
  if (depth > 0) {
    PlannedPart nothing;
    Planner planner(store, sorted, stop, nothing);
    planner.setSeam(Planner::Seam::FIND, seamHeight, tasks);
    planner.descend(TRIE_HEIGHT, parent.root(), nullptr, 0, sorted.size());
    if (planner.wasStopped()) return false;
  }
  planned = kj::heapArray<PlannedPart>(tasks.size() + 1);
  std::atomic<bool> stopped = false;
  pool.forEach(tasks.size(), 1, [&](size_t i, size_t) {
    auto& task = tasks[i];
    Planner planner(store, sorted, stop, planned[i]);
    task.result = planner.descend(seamHeight, task.current, task.carried, task.begin, task.end);
    if (planner.wasStopped()) stopped = true;
  });
  if (stopped) return false;

  auto& last = planned.back();
  counted = parent.size();
  for (size_t i = 0; i < tasks.size(); ++i) {
    planned[i].base = last.base;
    last.base += planned[i].nodes.size();
    if (tasks[i].result.kind == Subtrie::Kind::PLANNED) tasks[i].result.number += planned[i].base;
  }
  pool.forEach(tasks.size(), 1, [&](size_t i, size_t) {
    for (auto& node : planned[i].nodes) {
      node.left = node.left.shifted(planned[i].base);
      node.right = node.right.shifted(planned[i].base);
    }
  });
  Planner planner(store, sorted, stop, last);
  if (depth > 0) planner.setSeam(Planner::Seam::CROSS, seamHeight, tasks);
  auto whole = planner.descend(TRIE_HEIGHT, parent.root(), nullptr, 0, sorted.size());
  if (planner.wasStopped()) return false;
  top = planner.settle(TRIE_HEIGHT, whole);
  for (const auto& part : planned) {
    counted.registers += part.change.registers;
    counted.bytes += part.change.bytes;
    lowest = std::min(lowest, part.lowest);
  }
  return true;
}

}  // namespace ledger
