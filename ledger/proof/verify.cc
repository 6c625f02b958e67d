// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/verify.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"
#include "ledger/path-finder.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <kj/vector.h>

#include <algorithm>

namespace ledger {
namespace {

template <typename... Params>
Error contradiction(Params&&... params) {
  return makeError(Code::INVALID_ARGUMENT, Reason::BAD_ENCODING, kj::fwd<Params>(params)...);
}

template <typename Fixed>
kj::String hexOf(const Fixed& bytes) {
  return kj::encodeHex(bytes.ptr());
}

// Flags above the leaf: as many interims are needed.
size_t neededInterims(const TrieProof& proof) {
  size_t count = 0;
  for (unsigned depth = 0; depth < proof.steps; ++depth) count += proof.flag(depth);
  return count;
}

// What STRICT asks besides the hash.
kj::Maybe<Error> checkStrictly(const TrieProof& proof) {
  if (proof.inclusion != Inclusion::PRESENT) return contradiction("the proof is of no inclusion");
  if (proof.flags.size() != PROOF_FLAGS_SIZE) {
    return contradiction("the proof has ", proof.flags.size(), " flag bytes instead of ",
                         PROOF_FLAGS_SIZE);
  }
  for (unsigned depth = proof.steps; depth < TRIE_HEIGHT; ++depth) {
    if (proof.flag(depth)) {
      return contradiction("the proof has a flag at depth ", depth, ", its leaf stands at ",
                           proof.steps);
    }
  }
  const size_t needed = neededInterims(proof);
  if (needed < proof.interims.size()) {
    return contradiction("the proof has ", proof.interims.size() - needed,
                         " interims more than flags");
  }
  if (proof.payload.key.size() == 0) return nullptr;
  KJ_IF_MAYBE (error, validateKey(proof.payload.key)) {
    return contradiction("the proof's key is malformed: ", error->message);
  }
  const Path path = pathOf(proof.payload.key);
  if (path != proof.path) {
    return contradiction("the proof's key has path ", hexOf(path), ", the proof ",
                         hexOf(proof.path));
  }
  return nullptr;
}

// After this, the climb of rootsOf() finds the flags and interims that it needs.
kj::Maybe<Error> checkForm(const TrieProof& proof, Strictness strictness) {
  if (proof.steps > proof.flags.size() * 8) {
    return contradiction("the proof has ", proof.steps, " steps and flags for ",
                         proof.flags.size() * 8);
  }
  if (neededInterims(proof) > proof.interims.size()) {
    return contradiction("the proof has fewer interims than flags");
  }
  if (strictness == Strictness::STRICT) return checkStrictly(proof);
  return nullptr;
}

// The hash of each proof's leaf at the height where it stands, computed side by side.
kj::Array<Hash> leafHashesOf(kj::ArrayPtr<const TrieProof> proofs) {
  auto messages = KJ_MAP(proof, proofs) {
    return hash::Message{proof.path.ptr(), proof.payload.value};
  };
  auto starts = kj::heapArray<Hash>(proofs.size());
  hash::sha3(messages, starts);

  auto heights = KJ_MAP(proof, proofs) {
    return uint16_t(TRIE_HEIGHT - proof.steps);
  };
  auto result = kj::heapArray<Hash>(proofs.size());
  kj::Vector<hash::ChainJob> jobs(proofs.size());
  for (size_t i = 0; i < proofs.size(); ++i) {
    if (proofs[i].payload.value.size() == 0) {
      result[i] = hash::defaultHash(heights[i]);
      continue;
    }
    jobs.add(
        hash::ChainJob{&proofs[i].path, starts[i], 0, kj::arrayPtr(&heights[i], 1), &result[i]});
  }
  hash::runChains(jobs);
  return result;
}

// The roots to which the proofs lead. All of them climb together, one depth after the other.
kj::Array<Hash> rootsOf(kj::ArrayPtr<const TrieProof> proofs) {
  auto hashes = leafHashesOf(proofs);
  auto siblings = kj::heapArray<Hash>(proofs.size());
  auto unused = KJ_MAP(proof, proofs) {
    return proof.interims.size();
  };
  unsigned deepest = 0;
  for (const auto& proof : proofs) deepest = kj::max(deepest, unsigned(proof.steps));

  kj::Vector<hash::InteriorJob> jobs(proofs.size());
  for (unsigned depth = deepest; depth-- > 0;) {
    jobs.clear();
    for (size_t i = 0; i < proofs.size(); ++i) {
      const TrieProof& proof = proofs[i];
      if (depth >= proof.steps) continue;
      if (proof.flag(depth)) {
        // Interims stand root first, so the climb takes them from the last one.
        KJ_REQUIRE(unused[i] > 0, "the proof changed while it was verified", i, depth);
        siblings[i] = proof.interims[--unused[i]];
      } else {
        siblings[i] = hash::defaultHash(TRIE_HEIGHT - depth - 1);
      }
      const bool right = proof.path.bit(depth);
      jobs.add(hash::InteriorJob{right ? &siblings[i] : &hashes[i],
                                 right ? &hashes[i] : &siblings[i], &hashes[i]});
    }
    hash::hashInteriors(jobs);
  }
  return hashes;
}

kj::Maybe<Error> compare(const RootHash& state, const TrieProof& proof, const Hash& root) {
  if (root == state) return nullptr;
  return makeError(Code::FAILED_PRECONDITION, Reason::UNSPECIFIED, "the proof of path ",
                   hexOf(proof.path), " leads to state ", hexOf(root), ", not to ", hexOf(state));
}

Error ofProof(size_t index, const Error& error) {
  return {error.code, error.reason, kj::str("proof ", index, ": ", error.message)};
}

}  // namespace

kj::Maybe<Error> verifyProof(const RootHash& state, const TrieProof& proof, Strictness strictness) {
  KJ_IF_MAYBE (error, checkForm(proof, strictness)) {
    return kj::mv(*error);
  }
  return compare(state, proof, rootsOf(kj::arrayPtr(&proof, 1))[0]);
}

Result<kj::Array<ProvenRegister>> verifyBatch(const RootHash& state,
                                              kj::ArrayPtr<const kj::byte> batch,
                                              Strictness strictness) {
  auto decoded = decodeBatch(batch, strictness);
  KJ_IF_MAYBE (error, decoded.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto& proofs = decoded.get<kj::Array<TrieProof>>();

  for (size_t i = 0; i < proofs.size(); ++i) {
    KJ_IF_MAYBE (error, checkForm(proofs[i], strictness)) {
      return ofProof(i, *error);
    }
    if (strictness == Strictness::STRICT && i > 0 && proofs[i].path < proofs[i - 1].path) {
      return contradiction("proof ", i, ": path ", hexOf(proofs[i].path), " after ",
                           hexOf(proofs[i - 1].path));
    }
  }
  auto roots = rootsOf(proofs);
  auto proven = kj::heapArrayBuilder<ProvenRegister>(proofs.size());
  for (size_t i = 0; i < proofs.size(); ++i) {
    const TrieProof& proof = proofs[i];
    KJ_IF_MAYBE (error, compare(state, proof, roots[i])) {
      return ofProof(i, *error);
    }
    proven.add(ProvenRegister{proof.path, proof.payload.key, proof.payload.value});
  }
  return proven.finish();
}

kj::Maybe<Error> coversExactly(kj::ArrayPtr<const ProvenRegister> proven,
                               kj::ArrayPtr<const EncodedKey> keys) {
  for (size_t i = 0; i < keys.size(); ++i) {
    KJ_IF_MAYBE (error, validateKey(keys[i])) {
      return Error{error->code, error->reason, kj::str("key ", i, ": ", error->message)};
    }
  }
  auto wanted = kj::heapArray<Path>(keys.size());
  pathsOf(keys, wanted);
  std::sort(wanted.begin(), wanted.end());
  auto found = KJ_MAP(reg, proven) {
    return reg.path;
  };
  std::sort(found.begin(), found.end());

  auto w = wanted.begin();
  auto f = found.begin();
  while (w != wanted.end() && f != found.end() && *w == *f) ++w, ++f;
  if (w == wanted.end() && f == found.end()) return nullptr;
  if (f == found.end() || (w != wanted.end() && *w < *f)) {
    return makeError(Code::FAILED_PRECONDITION, Reason::BAD_REQUEST, "path ", hexOf(*w),
                     " of a key is not proven, or less often than asked");
  }
  return makeError(Code::FAILED_PRECONDITION, Reason::BAD_REQUEST, "path ", hexOf(*f),
                   " is proven, but no key, or fewer, ask for it");
}

}  // namespace ledger
