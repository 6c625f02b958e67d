// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/reader.h"

#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/layout.h"
#include "ledger/checkpoint/part-stream.h"
#include "ledger/checkpoint/payload.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <kj/mutex.h>
#include <kj/thread.h>
#include <kj/vector.h>

#include <algorithm>
#include <array>
#include <atomic>

namespace ledger {
namespace {

struct NodeHead {
  uint64_t offset;  // Of the node, for messages.
  CheckpointNodeType type;
  unsigned height;
  Hash hash;
};

// A child whose height was not held to its parent's yet. A child may be anywhere in its part, so
// that those of several parents are looked up together, their memory asked for ahead.
struct Parentage {
  uint64_t offset;  // Of the parent, for messages.
  uint64_t child;   // Index.
  unsigned height;  // Of the parent.
};
constexpr size_t PARENTAGES_AT_ONCE = 32;

// One byte tells the heights of a part's nodes apart: 0 to 252 in a subtrie part, 253 to 256 (which
// becomes 0) in the top part.
uint8_t shortHeight(unsigned height) {
  return static_cast<uint8_t>(height);
}

class CheckpointReading {
public:
  CheckpointReading(const CheckpointLayout& checkpoint, CheckpointSink& sink,
                    CheckpointReadOptions options)
      : checkpoint(checkpoint),
        parts(checkpoint.parts),
        total(checkpoint.bytes()),
        sink(sink),
        options(kj::mv(options)),
        done(checkpoint.headerBytes) {}

  void run() {
    KJ_REQUIRE(options.threads >= 1 && options.threads <= CHECKPOINT_SUBTRIES, options.threads);
    std::array<uint64_t, CHECKPOINT_PARTS> counts;
    for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) counts[i] = parts[i].nodes;
    sink.begin(kj::arrayPtr(counts.data(), counts.size()), checkpoint.tries);
    readSubtriesSideBySide();
    readTop();
    options.progress(done, total);
  }

private:
  PartStream stream(const CheckpointPart& part, bool onCallersThread) {
    auto onRead = [this, onCallersThread, giveWay = GiveWay(options.sets)](uint64_t bytes) mutable {
      done.fetch_add(bytes, std::memory_order_relaxed);
      KJ_REQUIRE(!failed.load(std::memory_order_relaxed), "another part could not be read");
      if (onCallersThread) options.progress(done.load(std::memory_order_relaxed), total);
      giveWay.afterPiece();
    };
    return PartStream(*part.file, part.name, part.size, kj::mv(onRead));
  }

  static void takePrefix(PartStream& in, uint16_t expectedMagic) {
    uint16_t magic = in.takeU16("magic");
    uint16_t version = in.takeU16("version");
    KJ_REQUIRE(magic == expectedMagic, "wrong magic bytes in a checkpoint file", in.name(),
               kj::hex(expectedMagic), kj::hex(magic));
    KJ_REQUIRE(version == CHECKPOINT_VERSION, "wrong version of a checkpoint file", in.name(),
               CHECKPOINT_VERSION, version);
  }

  static NodeHead takeHead(PartStream& in, unsigned lowest, unsigned highest) {
    uint64_t offset = in.offset();
    auto bytes = in.take(CHECKPOINT_NODE_PREFIX, "node");
    uint8_t type = bytes[0];
    unsigned height = readU16(bytes.slice(1, 3));
    const bool isInterior = type == static_cast<uint8_t>(CheckpointNodeType::INTERIOR);
    if (type > 1 || height < lowest || height > highest || (isInterior && height == 0)) {
      refuseHead(in, offset, type, height, lowest, highest);
    }
    return {offset, static_cast<CheckpointNodeType>(type), height,
            Hash::copyOf(bytes.slice(3, CHECKPOINT_NODE_PREFIX))};
  }

  // Which of the rules it breaks, apart so that the path of a good one stays short.
  [[noreturn, gnu::cold, gnu::noinline]] static void refuseHead(PartStream& in, uint64_t offset,
                                                                uint8_t type, unsigned height,
                                                                unsigned lowest,
                                                                unsigned highest) {
    KJ_REQUIRE(type == static_cast<uint8_t>(CheckpointNodeType::LEAF) ||
                   type == static_cast<uint8_t>(CheckpointNodeType::INTERIOR),
               "failed to decode node type", in.name(), offset, type);
    KJ_REQUIRE(height >= lowest && height <= highest,
               "a node's height does not belong into this part of the checkpoint", in.name(),
               offset, height, lowest, highest);
    KJ_FAIL_REQUIRE("an interior node stands at height 0", in.name(), offset);
  }

  void readLeaf(PartStream& in, unsigned part, uint64_t index, const NodeHead& head) {
    auto path = Path::copyOf(in.take(Path::SIZE, "path"));
    KJ_REQUIRE(part == CHECKPOINT_TOP_PART || path.bytes[0] >> 4 == part,
               "a leaf's path does not belong into this part of the checkpoint", in.name(),
               head.offset, kj::encodeHex(path.ptr()));
    uint32_t length = in.takeU32("length of a payload");
    kj::Maybe<Payload> payload;
    if (length > 0) {
      uint64_t offset = in.offset();
      payload = decodeCheckpointPayload(in.take(length, "payload"), in.name(), offset);
    }
    sink.leaf(part, index, head.height, head.hash, path, payload);
  }

  void readSubtrie(unsigned number, bool onCallersThread) {
    auto& part = parts[number];
    auto in = stream(part, onCallersThread);
    takePrefix(in, CHECKPOINT_SUBTRIE_MAGIC);
    auto heights = kj::heapArray<uint8_t>(part.nodes);
    kj::Vector<Parentage> unchecked(PARENTAGES_AT_ONCE);
    auto check = [&]() {
      for (const auto& each : unchecked) {
        requireChildHeight(in, each.offset, each.height, each.child, heights[each.child - 1]);
      }
      unchecked.clear();
    };

    for (uint64_t index = 1; index <= part.nodes; ++index) {
      auto head = takeHead(in, 0, CHECKPOINT_SUBTRIE_HEIGHT);
      heights[index - 1] = shortHeight(head.height);
      if (head.height == CHECKPOINT_SUBTRIE_HEIGHT) subtrieRoots[number].add(index);
      if (head.type == CheckpointNodeType::LEAF) {
        readLeaf(in, number, index, head);
        continue;
      }
      auto children = in.take(16, "children");
      auto child = [&](size_t offset) -> ChildRef {
        uint64_t at = readU64(children.slice(offset, offset + 8));
        if (at == 0) return {};
        requireChildBefore(in, head, at, index);
        __builtin_prefetch(&heights[at - 1]);
        if (unchecked.size() == PARENTAGES_AT_ONCE) check();
        unchecked.add(Parentage{head.offset, at, head.height});
        return {number, at};
      };
      auto left = child(0);
      auto right = child(8);
      sink.interior(number, index, head.height, head.hash, left, right);
    }
    check();
    KJ_REQUIRE(in.takeU64("count of nodes") == part.nodes,
               "the nodes of a checkpoint file end before its end", in.name(), in.offset());
    in.finish(part.crc);
  }

  static void requireChildBefore(PartStream& in, const NodeHead& head, uint64_t child,
                                 uint64_t parent) {
    if (child < parent) return;
    KJ_FAIL_REQUIRE("sequence of serialized nodes does not satisfy Descendents-First-Relationship",
                    in.name(), head.offset, child, parent);
  }

  static void requireChildHeight(PartStream& in, uint64_t offset, unsigned height, uint64_t child,
                                 uint8_t childHeight) {
    if (childHeight == shortHeight(height - 1)) return;
    KJ_FAIL_REQUIRE("a child does not stand one level below its parent", in.name(), offset, height,
                    child, childHeight);
  }

  void readSubtriesSideBySide() {
    std::atomic<unsigned> next = 0;
    auto work = [&](bool onCallersThread) {
      for (unsigned part; (part = next.fetch_add(1)) < CHECKPOINT_SUBTRIES;) {
        KJ_IF_MAYBE (exception,
                     kj::runCatchingExceptions([&]() { readSubtrie(part, onCallersThread); })) {
          auto lock = failure.lockExclusive();
          // Later ones may only say that this one failed.
          if (*lock == nullptr) *lock = kj::mv(*exception);
          failed = true;
          return;
        }
      }
    };
    {
      kj::Vector<kj::Own<kj::Thread>> threads;  // Joined at the end of the block.
      KJ_ON_SCOPE_FAILURE(failed = true);
      for (unsigned i = 1; i < options.threads; ++i) {
        threads.add(kj::heap<kj::Thread>([&]() { work(false); }));
      }
      work(true);
    }
    KJ_IF_MAYBE (exception, *failure.lockExclusive()) {
      kj::throwFatalException(kj::mv(*exception));
    }
  }

  void readTop() {
    auto& top = parts[CHECKPOINT_TOP_PART];
    auto in = stream(top, true);
    takePrefix(in, CHECKPOINT_TOP_MAGIC);

    std::array<uint64_t, CHECKPOINT_SUBTRIES + 1> before;  // Nodes of the parts before each.
    before[0] = 0;
    for (unsigned i = 0; i < CHECKPOINT_SUBTRIES; ++i) before[i + 1] = before[i] + parts[i].nodes;
    uint64_t subtrieNodes = before[CHECKPOINT_SUBTRIES];
    uint64_t said = in.takeU64("count of the subtries' nodes");
    KJ_REQUIRE(said == subtrieNodes, "mismatch subtrie node count", in.name(), said, subtrieNodes);

    auto heights = kj::heapArray<uint8_t>(top.nodes);
    auto hashes = kj::heapArray<Hash>(top.nodes);

    for (uint64_t index = 1; index <= top.nodes; ++index) {
      auto head = takeHead(in, CHECKPOINT_SUBTRIE_HEIGHT + 1, TRIE_HEIGHT);
      heights[index - 1] = shortHeight(head.height);
      hashes[index - 1] = head.hash;
      if (head.type == CheckpointNodeType::LEAF) {
        readLeaf(in, CHECKPOINT_TOP_PART, index, head);
        continue;
      }
      auto children = in.take(16, "children");
      auto child = [&](size_t offset) -> ChildRef {
        uint64_t at = readU64(children.slice(offset, offset + 8));
        if (at == 0) return {};
        if (at > subtrieNodes) {
          uint64_t local = at - subtrieNodes;
          requireChildBefore(in, head, local, index);
          requireChildHeight(in, head.offset, head.height, at, heights[local - 1]);
          return {CHECKPOINT_TOP_PART, local};
        }
        auto part = static_cast<unsigned>(std::lower_bound(before.begin(), before.end(), at) -
                                          before.begin() - 1);
        uint64_t local = at - before[part];
        auto& roots = subtrieRoots[part];
        KJ_REQUIRE(head.height == CHECKPOINT_SUBTRIE_HEIGHT + 1 &&
                       std::binary_search(roots.begin(), roots.end(), local),
                   "a child does not stand one level below its parent", in.name(), head.offset,
                   head.height, at, part, local);
        return {part, local};
      };
      auto left = child(0);
      auto right = child(8);
      sink.interior(CHECKPOINT_TOP_PART, index, head.height, head.hash, left, right);
    }
    for (uint64_t i = 0; i < checkpoint.tries; ++i) readTrie(in, subtrieNodes, heights, hashes);

    KJ_REQUIRE(in.takeU64("count of nodes") == top.nodes &&
                   in.takeU16("count of tries") == checkpoint.tries,
               "the tries of a checkpoint file end before its end", in.name(), in.offset());
    in.finish(top.crc);
  }

  void readTrie(PartStream& in, uint64_t subtrieNodes, kj::ArrayPtr<const uint8_t> heights,
                kj::ArrayPtr<const Hash> hashes) {
    uint64_t offset = in.offset();
    auto [root, registerCount, registerSize, rootHash] =
        TrieRecord::decode(in.take(CHECKPOINT_TRIE_SIZE, "trie"));
    ChildRef node;
    Hash expected;
    if (root == 0) {
      expected = Hash{EMPTY_TRIE_ROOT};
    } else {
      KJ_REQUIRE(root > subtrieNodes && root - subtrieNodes <= hashes.size(),
                 "can not find node by index: a trie's root", in.name(), offset, root, subtrieNodes,
                 hashes.size());
      node = {CHECKPOINT_TOP_PART, root - subtrieNodes};
      KJ_REQUIRE(heights[node.index - 1] == shortHeight(TRIE_HEIGHT),
                 "a trie's root does not stand at height 256", in.name(), offset, root);
      expected = hashes[node.index - 1];
    }
    KJ_REQUIRE(rootHash == expected, "failed to restore serialized trie: roothash doesn't match",
               in.name(), offset, kj::encodeHex(rootHash.ptr()), kj::encodeHex(expected.ptr()));
    sink.trie(node, registerCount, registerSize, rootHash);
  }

  const CheckpointLayout& checkpoint;
  const std::array<CheckpointPart, CHECKPOINT_PARTS>& parts;  // Of `checkpoint`.
  const uint64_t total;                                       // Bytes of all files.
  CheckpointSink& sink;
  CheckpointReadOptions options;  // progress: the caller's thread only.

  // The nodes of each subtrie part that the top part may refer to, ascending. Each entry is one
  // thread's while subtries are read.
  std::array<kj::Vector<uint64_t>, CHECKPOINT_SUBTRIES> subtrieRoots;

  std::atomic<uint64_t> done;        // Bytes.
  std::atomic<bool> failed = false;  // Others need not go on. Only a hint: relaxed.
  kj::MutexGuarded<kj::Maybe<kj::Exception>> failure;
};

}  // namespace

void readCheckpoint(const kj::ReadableDirectory& directory, kj::StringPtr name,
                    CheckpointSink& sink, CheckpointReadOptions options) {
  auto checkpoint = openCheckpoint(directory, name);
  CheckpointReading(checkpoint, sink, kj::mv(options)).run();
}

}  // namespace ledger
