// SPDX-License-Identifier: Apache-2.0
#include "tests/differential/reference-trie.h"

#include <kj/string.h>
#include <openssl/evp.h>

namespace ledger {

namespace {

using Registers = std::map<Path, std::string>;

Hash sha3(kj::ArrayPtr<const kj::byte> first, kj::ArrayPtr<const kj::byte> second) {
  Hash result;
  unsigned length = 0;
  static EVP_MD_CTX* const context = EVP_MD_CTX_new();  // For one thread at a time.
  EVP_DigestInit_ex(context, EVP_sha3_256(), nullptr);
  EVP_DigestUpdate(context, first.begin(), first.size());
  EVP_DigestUpdate(context, second.begin(), second.size());
  EVP_DigestFinal_ex(context, result.bytes.data(), &length);
  return result;
}

Hash hashOfEmpty(unsigned height) {
  static const std::vector<Hash> ALL = []() {
    std::vector<Hash> hashes{sha3(kj::StringPtr("default:").asBytes(), nullptr)};
    while (hashes.size() <= TRIE_HEIGHT) {
      hashes.push_back(sha3(hashes.back().ptr(), hashes.back().ptr()));
    }
    return hashes;
  }();
  return ALL[height];
}

// The first register whose path has bit `depth` set; they share all bits before it.
Registers::const_iterator split(const Registers& registers, unsigned depth) {
  auto at = registers.begin();
  while (at != registers.end() && !at->first.bit(depth)) ++at;
  return at;
}

Hash hashOf(unsigned height, const Registers& registers) {
  if (registers.empty()) return hashOfEmpty(height);
  if (height == 0) {
    const auto& [path, value] = *registers.begin();
    return sha3(path.ptr(), kj::StringPtr(value.c_str(), value.size()).asBytes());
  }
  auto middle = split(registers, TRIE_HEIGHT - height);
  auto left = hashOf(height - 1, Registers(registers.begin(), middle));
  auto right = hashOf(height - 1, Registers(middle, registers.end()));
  return sha3(left.ptr(), right.ptr());
}

}  // namespace

void ReferenceTrie::set(const Path& path, std::string value) {
  registers.erase(path);
  if (!value.empty()) registers.emplace(path, std::move(value));
}

std::string ReferenceTrie::get(const Path& path) const {
  auto found = registers.find(path);
  return found == registers.end() ? std::string() : found->second;
}

RootHash ReferenceTrie::root() const {
  return hashOf(TRIE_HEIGHT, registers);
}

ReferenceProof ReferenceTrie::prove(const Path& path, const std::set<Path>& asked) const {
  ReferenceProof proof;
  proof.value = get(path);
  // What is left at each depth on the way down: of the registers, and of all paths in question.
  Registers left = registers;
  std::set<Path> paths = asked;
  for (const auto& [stored, value] : registers) paths.insert(stored);
  for (; paths.size() > 1; ++proof.steps) {
    const unsigned depth = proof.steps;
    Registers here, beside;
    for (const auto& one : left) {
      (one.first.bit(depth) == path.bit(depth) ? here : beside).insert(one);
    }
    if (!beside.empty()) {
      proof.flaggedDepths.push_back(depth);
      proof.interims.push_back(hashOf(TRIE_HEIGHT - depth - 1, beside));
    }
    left = std::move(here);
    std::erase_if(paths, [&](const Path& other) { return other.bit(depth) != path.bit(depth); });
  }
  return proof;
}

}  // namespace ledger
