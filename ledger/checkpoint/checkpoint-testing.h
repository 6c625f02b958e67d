// SPDX-License-Identifier: Apache-2.0
#pragma once
// For tests of checkpoints: a sink that keeps everything, and checkpoints made of hand-written
// parts.

#include "ledger/checkpoint/format.h"
#include "ledger/checkpoint/sink.h"

#include <kj/filesystem.h>

#include <array>
#include <string>
#include <vector>

namespace ledger::testing {

struct KeptNode {
  bool leaf;
  unsigned height;
  Hash hash;
  Path path;
  bool hasPayload;
  std::string key, value;
  ChildRef left, right;
};

struct KeptTrie {
  ChildRef root;
  uint64_t registerCount, registerSize;
  RootHash rootHash;
};

// Also checks what a sink may rely on: counts, order, children before parents.
// Thread: as CheckpointSink says.
class KeepingSink final : public CheckpointSink {
public:
  void begin(kj::ArrayPtr<const uint64_t> nodesPerPart, uint64_t tries) override;
  void leaf(unsigned part, uint64_t index, unsigned height, const Hash& hash, const Path& path,
            kj::Maybe<Payload> payload) override;
  void interior(unsigned part, uint64_t index, unsigned height, const Hash& hash, ChildRef left,
                ChildRef right) override;
  void trie(ChildRef root, uint64_t registerCount, uint64_t registerSize,
            const RootHash& rootHash) override;

  const KeptNode& node(ChildRef ref) const { return parts[ref.part].at(ref.index - 1); }
  bool complete() const;

  std::array<std::vector<KeptNode>, CHECKPOINT_PARTS> parts;
  std::array<uint64_t, CHECKPOINT_PARTS> counts{};
  uint64_t triesToCome = 0;
  std::vector<KeptTrie> tries;

private:
  void add(unsigned part, uint64_t index, KeptNode node);
};

// The bytes of the 17 part files without their checksums. Starts as the checkpoint of the empty
// trie.
struct CheckpointParts {
  std::array<std::string, CHECKPOINT_PARTS> bytes;

  CheckpointParts();
  // Writes the 18 files, with checksums that fit.
  void store(const kj::Directory& directory, kj::StringPtr name) const;
};

std::string fromHex(kj::StringPtr hex);
std::string bigEndian(uint64_t value, size_t bytes);
std::string leafRecord(unsigned height, const std::string& hash, const std::string& path,
                       const std::string& payload);
std::string interiorRecord(unsigned height, const std::string& hash, uint64_t left, uint64_t right);
std::string trieRecord(uint64_t root, uint64_t count, uint64_t size, const std::string& hash);
std::string subtriePart(const std::vector<std::string>& nodes);
std::string topPart(uint64_t subtrieNodes, const std::vector<std::string>& nodes,
                    const std::vector<std::string>& tries);

// The worked example: one trie of two registers, checkpoint 7.
CheckpointParts workedExample();

}  // namespace ledger::testing
