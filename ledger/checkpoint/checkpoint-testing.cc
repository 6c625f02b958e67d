// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/checkpoint-testing.h"

#include "ledger/checkpoint/names.h"
#include "ledger/wal/crc32c.h"

#include <kj/debug.h>
#include <kj/encoding.h>

namespace ledger::testing {
namespace {

kj::ArrayPtr<const kj::byte> asBytes(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

std::string asString(kj::ArrayPtr<const kj::byte> bytes) {
  return std::string(bytes.asChars().begin(), bytes.size());
}

std::string withChecksum(std::string bytes) {
  return bytes + bigEndian(crc32c(asBytes(bytes)), 4);
}

void store(const kj::Directory& directory, kj::StringPtr name, const std::string& bytes) {
  auto file = directory.openFile(kj::Path(name), kj::WriteMode::CREATE | kj::WriteMode::MODIFY);
  file->truncate(0);
  file->write(0, asBytes(bytes));
}

}  // namespace

void KeepingSink::begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t tries) {
  KJ_REQUIRE(nodesPerPart.size() == CHECKPOINT_PARTS && triesToCome == 0 && tries > 0);
  for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) counts[i] = nodesPerPart[i];
  triesToCome = tries;
}

void KeepingSink::add(unsigned part, uint64_t index, KeptNode node) {
  KJ_REQUIRE(triesToCome > 0 && parts.at(part).size() + 1 == index && index <= counts[part]);
  parts[part].push_back(std::move(node));
}

void KeepingSink::leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash,
                       const Path& path, kj::Maybe<Payload> payload) {
  KeptNode node{true, height, hash, path, false, {}, {}, {}, {}};
  KJ_IF_MAYBE (it, payload) {
    node.hasPayload = true;
    node.key = asString(it->key);
    node.value = asString(it->value);
  }
  add(part, index, std::move(node));
}

void KeepingSink::interior(unsigned part, uint64_t index, unsigned height, const Hash& hash,
                           ChildRef left, ChildRef right) {
  for (auto child : {left, right}) {
    if (!child.isNil()) node(child);  // Throws unless it came before.
  }
  add(part, index, {false, height, hash, {}, false, {}, {}, left, right});
}

void KeepingSink::trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
                       const RootHash& rootHash) {
  KJ_REQUIRE(root.isNil() || (node(root).hash == rootHash && node(root).height == TRIE_HEIGHT));
  tries.push_back({root, registerCount, registerSize, rootHash});
}

bool KeepingSink::complete() const {
  for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
    if (parts[i].size() != counts[i]) return false;
  }
  return triesToCome > 0 && tries.size() == triesToCome;
}

std::string fromHex(kj::StringPtr hex) {
  auto bytes = kj::decodeHex(hex.asArray());
  KJ_REQUIRE(!bytes.hadErrors);
  return asString(bytes);
}

std::string bigEndian(uint64_t value, size_t bytes) {
  std::string text;
  for (size_t i = bytes; i > 0; --i) text.push_back(static_cast<char>(value >> (8 * (i - 1))));
  return text;
}

std::string leafRecord(unsigned height, const std::string& hash, const std::string& path,
                       const std::string& payload) {
  return bigEndian(0, 1) + bigEndian(height, 2) + hash + path + bigEndian(payload.size(), 4) +
         payload;
}

std::string interiorRecord(unsigned height, const std::string& hash, uint64_t left,
                           uint64_t right) {
  return bigEndian(1, 1) + bigEndian(height, 2) + hash + bigEndian(left, 8) + bigEndian(right, 8);
}

std::string trieRecord(uint64_t root, uint64_t count, uint64_t size, const std::string& hash) {
  return bigEndian(root, 8) + bigEndian(count, 8) + bigEndian(size, 8) + hash;
}

std::string subtriePart(const std::vector<std::string>& nodes) {
  auto bytes = fromHex("21360006");
  for (auto& node : nodes) bytes += node;
  return bytes + bigEndian(nodes.size(), 8);
}

std::string topPart(uint64_t subtrieNodes, const std::vector<std::string>& nodes,
                    const std::vector<std::string>& tries) {
  auto bytes = fromHex("21350006") + bigEndian(subtrieNodes, 8);
  for (auto& node : nodes) bytes += node;
  for (auto& trie : tries) bytes += trie;
  return bytes + bigEndian(nodes.size(), 8) + bigEndian(tries.size(), 2);
}

CheckpointParts::CheckpointParts() {
  bytes.fill(subtriePart({}));
  std::string root(reinterpret_cast<const char*>(EMPTY_TRIE_ROOT.data()), EMPTY_TRIE_ROOT.size());
  bytes[CHECKPOINT_TOP_PART] = topPart(0, {}, {trieRecord(0, 0, 0, root)});
}

void CheckpointParts::store(const kj::Directory& directory, kj::StringPtr name) const {
  auto header = fromHex("213700060010");
  for (unsigned i = 0; i < CHECKPOINT_PARTS; ++i) {
    auto part = withChecksum(bytes[i]);
    header += part.substr(part.size() - 4);
    testing::store(directory, checkpointPartName(name, i), part);
  }
  testing::store(directory, name, withChecksum(header));
}

CheckpointParts workedExample() {
  auto hash = [](kj::StringPtr hex) { return fromHex(hex); };
  std::string zeros31(31, '\0');
  auto root = hash("b09447ef31324dfca87ac96821eadf7568b3e410129b2dfe1613aa403a4adcde");
  CheckpointParts parts;
  parts.bytes[0] = subtriePart({
      leafRecord(0xf8, hash("e4e296b3f17fe434dd5c004be0ddcba974dcb23b929ee2b44867b0ba7839dfd6"),
                 std::string(32, '\0'),
                 fromHex("0000000900010000000300004100000001"
                         "61")),
      leafRecord(0xf8, hash("dc6f1e5f987cd576f51662d2cc53209f0c671be04af5ada6588a4390a89edc1a"),
                 "\1" + zeros31,
                 fromHex("0000000900010000000300004200000001"
                         "62")),
      interiorRecord(0xf9, hash("ffdc5a418a89ed086e20b12b58efe93347e9404ec079eb1eb91b46f868b733ca"),
                     1, 2),
      interiorRecord(0xfa, hash("f15c91da4577fc339da51dad48a1b2fd984a31f3dcc6909562466c0ae5aa8c60"),
                     3, 0),
      interiorRecord(0xfb, hash("87011dad5cd8d8335663f09250286d4d1abf06fd9c7a61d9c90a81a1cfd8a0a6"),
                     4, 0),
      interiorRecord(0xfc, hash("d34ca60d50ab7c134427eeead8c14e2595029a74ffec620a81de4b08cdea414a"),
                     5, 0),
  });
  parts.bytes[CHECKPOINT_TOP_PART] = topPart(
      6,
      {
          interiorRecord(
              0xfd, hash("e6df335ff9e2391df91a52d689992256c6ad86d9aef7bf0dd4595c24dc0fa851"), 6, 0),
          interiorRecord(
              0xfe, hash("b0532340fd5fa4695f850acb739380bcabebe035c16a1f22dca573bbaafd58b1"), 7, 0),
          interiorRecord(
              0xff, hash("bd5f9ae202b11c83ac88ee619beaf4731f5bca22176024f6dac369ff17aeb43e"), 8, 0),
          interiorRecord(0x100, root, 9, 0),
      },
      {trieRecord(10, 2, 20, root)});
  return parts;
}

}  // namespace ledger::testing
