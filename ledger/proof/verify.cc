// SPDX-License-Identifier: Apache-2.0
#include "ledger/proof/verify.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/sha3.h"
#include "ledger/path-finder.h"

#include <kj/debug.h>
#include <kj/encoding.h>

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

// What STRICT asks of a proof besides its hash.
kj::Maybe<Error> checkForm(const TrieProof& proof) {
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

}  // namespace

kj::Maybe<Error> verifyProof(const RootHash& state, const TrieProof& proof, Strictness strictness) {
  if (proof.steps > proof.flags.size() * 8) {
    return contradiction("the proof has ", proof.steps, " steps and flags for ",
                         proof.flags.size() * 8);
  }
  if (strictness == Strictness::STRICT) {
    KJ_IF_MAYBE (error, checkForm(proof)) {
      return kj::mv(*error);
    }
  }

  // From the leaf to the root; interims are taken from the last one.
  size_t unused = proof.interims.size();
  Hash hash = hash::compactLeafHash(proof.path, proof.payload.value, TRIE_HEIGHT - proof.steps);
  for (unsigned depth = proof.steps; depth-- > 0;) {
    Hash sibling;
    if (proof.flag(depth)) {
      if (unused == 0) return contradiction("the proof has fewer interims than flags");
      sibling = proof.interims[--unused];
    } else {
      sibling = hash::defaultHash(TRIE_HEIGHT - depth - 1);
    }
    hash = proof.path.bit(depth) ? hash::hashInterior(sibling, hash)
                                 : hash::hashInterior(hash, sibling);
  }
  if (strictness == Strictness::STRICT && unused > 0) {
    return contradiction("the proof has ", unused, " interims more than flags");
  }
  if (hash != state) {
    return makeError(Code::FAILED_PRECONDITION, Reason::UNSPECIFIED, "the proof of path ",
                     hexOf(proof.path), " leads to state ", hexOf(hash), ", not to ", hexOf(state));
  }
  return nullptr;
}

Result<kj::Array<ProvenRegister>> verifyBatch(const RootHash& state,
                                              kj::ArrayPtr<const kj::byte> batch,
                                              Strictness strictness) {
  auto decoded = decodeBatch(batch, strictness);
  KJ_IF_MAYBE (error, decoded.tryGet<Error>()) {
    return kj::mv(*error);
  }
  auto& proofs = decoded.get<kj::Array<TrieProof>>();

  auto proven = kj::heapArrayBuilder<ProvenRegister>(proofs.size());
  for (size_t i = 0; i < proofs.size(); ++i) {
    const TrieProof& proof = proofs[i];
    KJ_IF_MAYBE (error, verifyProof(state, proof, strictness)) {
      return Error{error->code, error->reason, kj::str("proof ", i, ": ", error->message)};
    }
    if (strictness == Strictness::STRICT && i > 0 && proof.path < proofs[i - 1].path) {
      return contradiction("proof ", i, ": path ", hexOf(proof.path), " after ",
                           hexOf(proofs[i - 1].path));
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
