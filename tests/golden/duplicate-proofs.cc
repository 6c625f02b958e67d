// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/duplicate-proofs.h"

#include "ledger/path-finder.h"
#include "ledger/proof/verify.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>
#include <map>
#include <vector>

namespace ledger::golden {

namespace {

constexpr size_t BATCH_HEAD = 7;  // Version, type, count.

// Where the path is in an encoded proof: after inclusion, steps, the flags and their length, and
// the path's own length.
constexpr size_t PATH_OFFSET = 1 + 1 + 1 + 32 + 2;

uint64_t bigEndian(kj::ArrayPtr<const kj::byte> bytes) {
  uint64_t number = 0;
  for (auto byte : bytes) number = number << 8 | byte;
  return number;
}

// The proofs of a batch, each with its length in front, by path.
std::map<Path, kj::ArrayPtr<const kj::byte>> proofsByPath(kj::ArrayPtr<const kj::byte> batch) {
  std::map<Path, kj::ArrayPtr<const kj::byte>> proofs;
  KJ_REQUIRE(batch.size() >= BATCH_HEAD);
  for (size_t at = BATCH_HEAD; at < batch.size();) {
    KJ_REQUIRE(batch.size() - at >= 8);
    const auto length = bigEndian(batch.slice(at, at + 8));
    KJ_REQUIRE(length >= PATH_OFFSET + Path::SIZE && length <= batch.size() - at - 8);
    const auto proof = batch.slice(at, at + 8 + length);
    const auto path = proof.slice(8 + PATH_OFFSET, 8 + PATH_OFFSET + Path::SIZE);
    proofs.emplace(Path::copyOf(path), proof);
    at += proof.size();
  }
  return proofs;
}

}  // namespace

kj::Maybe<kj::String> faultOfDuplicateProof(LedgerUnderTest& ledger, const RootHash& state,
                                            Keys keys, kj::ArrayPtr<const kj::byte> proof) {
  std::vector<Path> paths;
  std::map<Path, EncodedKey> distinct;
  for (auto key : keys) {
    paths.push_back(pathOf(key));
    distinct.emplace(paths.back(), key);
  }
  std::sort(paths.begin(), paths.end());

  kj::Vector<EncodedKey> distinctKeys;
  for (auto& [path, key] : distinct) distinctKeys.add(key);
  auto answer = ledger.prove(state, distinctKeys);
  KJ_IF_MAYBE (error, answer.tryGet<Error>()) {
    return kj::str("without duplicates it is refused: ", error->message);
  }
  const auto& single = answer.get<Bytes>();
  auto proofs = proofsByPath(single);

  kj::Vector<kj::byte> expected;
  expected.addAll(single.slice(0, 3));  // Version and type.
  for (unsigned i = 4; i-- > 0;) expected.add(kj::byte(paths.size() >> (8 * i)));
  for (auto& path : paths) {
    auto found = proofs.find(path);
    if (found == proofs.end()) return kj::str("a key has no proof");
    expected.addAll(found->second);
  }
  if (expected.asPtr() != proof) {
    return kj::str("it is not the proof without duplicates, with the duplicates repeated");
  }

  auto verdict = verifyBatch(state, proof, Strictness::STRICT);
  KJ_IF_MAYBE (error, verdict.tryGet<Error>()) {
    return kj::str("it does not verify: ", error->message);
  }
  return nullptr;
}

}  // namespace ledger::golden
