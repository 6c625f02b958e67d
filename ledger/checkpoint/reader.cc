// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/reader.h"

#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/part-stream.h"
#include "ledger/checkpoint/payload.h"
#include "ledger/wal/crc32c.h"

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

struct Part {
  kj::String name;
  kj::Own<const kj::ReadableFile> file;
  uint64_t size = 0;
  uint32_t crc = 0;    // As the header lists it.
  uint64_t nodes = 0;  // As the footer says; checked against the size.
  // Subtrie parts: the nodes that the top part may refer to, ascending.
  kj::Vector<uint64_t> subtrieRoots;
};

struct NodeHead {
  uint64_t offset;  // Of the node, for messages.
  CheckpointNodeType type;
  unsigned height;
  Hash hash;
};

// One byte tells the heights of a part's nodes apart: 0 to 252 in a subtrie part, 253 to 256 (which
// becomes 0) in the top part.
uint8_t shortHeight(unsigned height) {
  return static_cast<uint8_t>(height);
}

class CheckpointReading {
public:
  CheckpointReading(const kj::ReadableDirectory& directory, kj::StringPtr name,
                    CheckpointSink& sink, CheckpointReadOptions options)
      : directory(directory), name(name), sink(sink), options(kj::mv(options)) {}

  void run() {
    KJ_REQUIRE(options.threads >= 1 && options.threads <= CHECKPOINT_SUBTRIES, options.threads);
    readHeader();
    openParts();
    readFooters();
    std::array<uint64_t, CHECKPOINT_PARTS> counts;
    for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) counts[i] = parts[i].nodes;
    sink.begin(kj::arrayPtr(counts.data(), counts.size()), tries);
    readSubtriesSideBySide();
    readTop();
    options.progress(done, total);
  }

private:
  // --- Before any node ---

  kj::Own<const kj::ReadableFile> open(kj::StringPtr fileName) {
    KJ_IF_MAYBE (file, directory.tryOpenFile(kj::Path(fileName))) {
      return kj::mv(*file);
    }
    KJ_FAIL_REQUIRE("a checkpoint file is missing", fileName);
  }

  void readHeader() {
    auto file = open(name);
    uint64_t size = file->stat().size;
    auto prefix = readExactly(*file, name, 0, CHECKPOINT_PREFIX_SIZE);
    uint16_t magic = readU16(prefix.slice(0, 2));
    uint16_t version = readU16(prefix.slice(2, 4));
    KJ_REQUIRE(magic == CHECKPOINT_HEADER_MAGIC, "wrong magic bytes: not a checkpoint's header",
               name, kj::hex(CHECKPOINT_HEADER_MAGIC), kj::hex(magic));
    if (version >= 1 && version <= 5) {
      KJ_FAIL_REQUIRE(
          "a checkpoint of this version is not supported, version 6 is; convert it with flow-go's "
          "tools",
          name, version);
    }
    KJ_REQUIRE(version == CHECKPOINT_VERSION, "wrong version of a checkpoint's header", name,
               CHECKPOINT_VERSION, version);
    KJ_REQUIRE(size == CHECKPOINT_HEADER_SIZE, "a checkpoint's header has the wrong length", name,
               CHECKPOINT_HEADER_SIZE, size);

    auto bytes = readExactly(*file, name, 0, CHECKPOINT_HEADER_SIZE);
    size_t body = CHECKPOINT_HEADER_SIZE - CHECKPOINT_CRC_SIZE;
    uint32_t stored = readU32(bytes.slice(body, bytes.size()));
    uint32_t actual = crc32c(bytes.slice(0, body));
    KJ_REQUIRE(stored == actual, "invalid checksum in checkpoint header", name, kj::hex(stored),
               kj::hex(actual));
    uint16_t subtries = readU16(bytes.slice(4, 6));
    KJ_REQUIRE(subtries == CHECKPOINT_SUBTRIES, "wrong number of subtries in checkpoint header",
               name, CHECKPOINT_SUBTRIES, subtries);
    for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
      parts[i].crc = readU32(bytes.slice(6 + 4 * i, 10 + 4 * i));
    }
    total = done = size;
  }

  void openParts() {
    for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
      parts[i].name = checkpointPartName(name, i);
      parts[i].file = open(parts[i].name);
      parts[i].size = parts[i].file->stat().size;
      total += parts[i].size;
    }
  }

  // Counts come before the checksums are known, so they are held to the files' sizes.
  void readFooters() {
    for (unsigned i = 0; i < CHECKPOINT_SUBTRIES; ++i) {
      auto& part = parts[i];
      auto footer = readFooter(part, CHECKPOINT_PREFIX_SIZE, CHECKPOINT_SUBTRIE_FOOTER);
      part.nodes = readU64(footer.slice(0, 8));
      requireRoom(part, part.nodes, CHECKPOINT_INTERIOR_SIZE,
                  part.size - CHECKPOINT_PREFIX_SIZE - CHECKPOINT_SUBTRIE_FOOTER, "nodes");
    }
    auto& top = parts[CHECKPOINT_TOP_PART];
    auto footer = readFooter(top, CHECKPOINT_TOP_PREFIX, CHECKPOINT_TOP_FOOTER);
    top.nodes = readU64(footer.slice(0, 8));
    tries = readU16(footer.slice(8, 10));
    uint64_t body = top.size - CHECKPOINT_TOP_PREFIX - CHECKPOINT_TOP_FOOTER;
    requireRoom(top, tries, CHECKPOINT_TRIE_SIZE, body, "tries");
    requireRoom(top, top.nodes, CHECKPOINT_INTERIOR_SIZE, body - tries * CHECKPOINT_TRIE_SIZE,
                "nodes");
    KJ_REQUIRE(tries > 0, "a checkpoint without tries", top.name);
  }

  kj::Array<kj::byte> readFooter(const Part& part, uint64_t prefixSize, uint64_t footerSize) {
    KJ_REQUIRE(part.size >= prefixSize + footerSize, "a checkpoint file is too short", part.name,
               prefixSize + footerSize, part.size);
    auto footer = readExactly(*part.file, part.name, part.size - footerSize, footerSize);
    uint32_t crc = readU32(footer.slice(footerSize - CHECKPOINT_CRC_SIZE, footerSize));
    KJ_REQUIRE(crc == part.crc,
               "a checkpoint file does not end with the checksum that the header "
               "lists",
               part.name, part.size - CHECKPOINT_CRC_SIZE, kj::hex(part.crc), kj::hex(crc));
    return footer;
  }

  static void requireRoom(const Part& part, uint64_t count, uint64_t eachAtLeast, uint64_t room,
                          kj::StringPtr what) {
    KJ_REQUIRE(count <= room / eachAtLeast, "a checkpoint file is too short for what its end says",
               part.name, part.size, what, count);
  }

  // --- Nodes ---

  PartStream stream(const Part& part, bool onCallersThread) {
    return PartStream(*part.file, part.name, part.size, [this, onCallersThread](uint64_t bytes) {
      done.fetch_add(bytes, std::memory_order_relaxed);
      KJ_REQUIRE(!failed.load(std::memory_order_relaxed), "another part could not be read");
      if (onCallersThread) options.progress(done.load(std::memory_order_relaxed), total);
    });
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
    KJ_REQUIRE(type == static_cast<uint8_t>(CheckpointNodeType::LEAF) ||
                   type == static_cast<uint8_t>(CheckpointNodeType::INTERIOR),
               "failed to decode node type", in.name(), offset, type);
    KJ_REQUIRE(height >= lowest && height <= highest,
               "a node's height does not belong into this part of the checkpoint", in.name(),
               offset, height, lowest, highest);
    KJ_REQUIRE(type == static_cast<uint8_t>(CheckpointNodeType::LEAF) || height > 0,
               "an interior node stands at height 0", in.name(), offset);
    return {offset, static_cast<CheckpointNodeType>(type), height,
            Hash::copyOf(bytes.slice(3, CHECKPOINT_NODE_PREFIX))};
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

    for (uint64_t index = 1; index <= part.nodes; ++index) {
      auto head = takeHead(in, 0, CHECKPOINT_SUBTRIE_HEIGHT);
      heights[index - 1] = shortHeight(head.height);
      if (head.height == CHECKPOINT_SUBTRIE_HEIGHT) part.subtrieRoots.add(index);
      if (head.type == CheckpointNodeType::LEAF) {
        readLeaf(in, number, index, head);
        continue;
      }
      auto children = in.take(16, "children");
      auto child = [&](size_t offset) -> ChildRef {
        uint64_t at = readU64(children.slice(offset, offset + 8));
        if (at == 0) return {};
        requireChildBefore(in, head, at, index);
        requireChildHeight(in, head, at, heights[at - 1]);
        return {number, at};
      };
      auto left = child(0);
      auto right = child(8);
      sink.interior(number, index, head.height, head.hash, left, right);
    }
    KJ_REQUIRE(in.takeU64("count of nodes") == part.nodes,
               "the nodes of a checkpoint file end before its end", in.name(), in.offset());
    in.finish(part.crc);
  }

  static void requireChildBefore(PartStream& in, const NodeHead& head, uint64_t child,
                                 uint64_t parent) {
    KJ_REQUIRE(child < parent,
               "sequence of serialized nodes does not satisfy Descendents-First-Relationship",
               in.name(), head.offset, child, parent);
  }

  static void requireChildHeight(PartStream& in, const NodeHead& head, uint64_t child,
                                 uint8_t childHeight) {
    KJ_REQUIRE(childHeight == shortHeight(head.height - 1),
               "a child does not stand one level below its parent", in.name(), head.offset,
               head.height, child, childHeight);
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
          requireChildHeight(in, head, at, heights[local - 1]);
          return {CHECKPOINT_TOP_PART, local};
        }
        auto part = static_cast<unsigned>(std::lower_bound(before.begin(), before.end(), at) -
                                          before.begin() - 1);
        uint64_t local = at - before[part];
        auto& roots = parts[part].subtrieRoots;
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
    for (uint64_t i = 0; i < tries; ++i) readTrie(in, subtrieNodes, heights, hashes);

    KJ_REQUIRE(in.takeU64("count of nodes") == top.nodes && in.takeU16("count of tries") == tries,
               "the tries of a checkpoint file end before its end", in.name(), in.offset());
    in.finish(top.crc);
  }

  void readTrie(PartStream& in, uint64_t subtrieNodes, kj::ArrayPtr<const uint8_t> heights,
                kj::ArrayPtr<const Hash> hashes) {
    uint64_t offset = in.offset();
    uint64_t root = in.takeU64("root of a trie");
    uint64_t registerCount = in.takeU64("count of registers");
    uint64_t registerSize = in.takeU64("size of registers");
    auto rootHash = RootHash::copyOf(in.take(RootHash::SIZE, "root hash"));
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

  const kj::ReadableDirectory& directory;
  const kj::StringPtr name;
  CheckpointSink& sink;
  CheckpointReadOptions options;  // progress: the caller's thread only.

  // Each entry is one thread's while subtries are read; the rest does not change then.
  std::array<Part, CHECKPOINT_PARTS> parts;
  uint64_t tries = 0;
  uint64_t total = 0;  // Bytes of all files.

  std::atomic<uint64_t> done = 0;    // Bytes.
  std::atomic<bool> failed = false;  // Others need not go on. Only a hint: relaxed.
  kj::MutexGuarded<kj::Maybe<kj::Exception>> failure;
};

}  // namespace

void readCheckpoint(const kj::ReadableDirectory& directory, kj::StringPtr name,
                    CheckpointSink& sink, CheckpointReadOptions options) {
  CheckpointReading(directory, name, sink, kj::mv(options)).run();
}

}  // namespace ledger
