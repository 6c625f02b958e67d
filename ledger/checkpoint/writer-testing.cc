// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/writer-testing.h"

#include <kj/debug.h>

#include <functional>

namespace ledger::testing {
namespace {

std::string text(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

std::string recordOf(const Store& store, NodeRef node, unsigned height, uint64_t left,
                     uint64_t right) {
  auto hash = text(store.nodes.hash(node).ptr());
  if (!node.isLeaf()) return interiorRecord(height, hash, left, right);
  auto payload = store.payload(node);
  std::string bytes;
  if (payload.exists()) {
    auto key = text(payload.key());
    if (key.empty()) key = std::string(2, '\0');
    bytes = bigEndian(key.size(), 4) + key + bigEndian(payload.value().size(), 4) +
            text(payload.value());
  }
  return leafRecord(height, hash, text(payload.path().ptr()), bytes);
}

}  // namespace

CheckpointParts simpleCheckpoint(kj::ArrayPtr<const kj::Own<const Trie>> tries) {
  const auto& store = tries[0]->store();
  CheckpointParts result;
  std::map<uint64_t, uint64_t> numbers;  // By slot; global.
  uint64_t before = 0;                   // Nodes of the parts before.
  std::vector<std::string> records;

  // Writes what is at and below `node` to the current part. `lowest` is the lowest height of it.
  std::function<uint64_t(NodeRef, unsigned, unsigned)> visit = [&](NodeRef node, unsigned height,
                                                                   unsigned lowest) -> uint64_t {
    if (node.isNull()) return 0;
    if (numbers.count(node.slot()) > 0) return numbers[node.slot()];
    KJ_ASSERT(height >= lowest);
    uint64_t left = 0, right = 0;
    if (!node.isLeaf()) {
      left = visit(store.nodes.interior(node).left, height - 1, lowest);
      right = visit(store.nodes.interior(node).right, height - 1, lowest);
    }
    auto local = [&](uint64_t number) {
      return number == 0 || lowest > 0 ? number : number - before;
    };
    records.push_back(recordOf(store, node, height, local(left), local(right)));
    return numbers[node.slot()] = before + records.size();
  };

  for (unsigned part = 0; part < CHECKPOINT_SUBTRIES; ++part) {
    records.clear();
    for (const auto& trie : tries) {
      auto node = trie->root();
      for (int bit = 3; bit >= 0 && !node.isNull(); --bit) {
        if (node.isLeaf()) {
          node = {};
          break;
        }
        const auto& interior = store.nodes.interior(node);
        node = part >> bit & 1 ? interior.right : interior.left;
      }
      visit(node, CHECKPOINT_SUBTRIE_HEIGHT, 0);
    }
    result.bytes[part] = subtriePart(records);
    before += records.size();
  }
  records.clear();
  std::vector<std::string> trieRecords;
  for (const auto& trie : tries) {
    auto root = visit(trie->root(), TRIE_HEIGHT, CHECKPOINT_SUBTRIE_HEIGHT + 1);
    trieRecords.push_back(
        trieRecord(root, trie->size().registers, trie->size().bytes, text(trie->rootHash().ptr())));
  }
  result.bytes[CHECKPOINT_TOP_PART] = topPart(before, records, trieRecords);
  return result;
}

kj::Own<const kj::Directory> asDirectory(const FileBytes& files) {
  auto directory = kj::newInMemoryDirectory(kj::nullClock());
  for (auto& [name, bytes] : files) {
    directory->openFile(kj::Path(name.c_str()), kj::WriteMode::CREATE)
        ->writeAll(kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size()));
  }
  return directory;
}

FileBytes filesOf(const CheckpointParts& parts, kj::StringPtr name) {
  auto directory = kj::newInMemoryDirectory(kj::nullClock());
  parts.store(*directory, name);
  FileBytes files;
  for (auto& file : directory->listNames()) {
    files[file.cStr()] = text(directory->openFile(kj::Path(file))->readAllBytes());
  }
  return files;
}

}  // namespace ledger::testing
