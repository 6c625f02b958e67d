// SPDX-License-Identifier: Apache-2.0
#pragma once
// Encodings of trie proofs and batches of them, both ways.
//
// A trie proof says what a register holds and gives the hashes that lead from it to the root. A
// batch is what the ledger answers to Prove. Decoded proofs are views into the encoding.
//
// Source: docs/formats.md, "Proofs".

#include "ledger/encoding.h"
#include "ledger/error.h"
#include "ledger/model.h"

#include <kj/array.h>

namespace ledger {

// Sibling hashes as they are encoded, each behind its length; root first.
class Interims {
public:
  static constexpr size_t ENCODED_SIZE = 2 + Hash::SIZE;

  Interims() = default;

  // `encoded` holds whole interims whose lengths have been checked.
  explicit Interims(kj::ArrayPtr<const kj::byte> encoded) : encoded(encoded) {
    KJ_IREQUIRE(encoded.size() % ENCODED_SIZE == 0);
  }

  size_t size() const { return encoded.size() / ENCODED_SIZE; }
  Hash operator[](size_t index) const {
    const size_t begin = index * ENCODED_SIZE + 2;
    return Hash::copyOf(encoded.slice(begin, begin + Hash::SIZE));
  }
  kj::ArrayPtr<const kj::byte> bytes() const { return encoded; }

private:
  kj::ArrayPtr<const kj::byte> encoded;
};

// `hashes` as Interims wants them.
kj::Array<kj::byte> encodeInterims(kj::ArrayPtr<const Hash> hashes);

enum class Inclusion : uint8_t {
  ABSENT,  // flow-go writes no such proof: it proves an absent register as present but empty.
  PRESENT,
};

struct TrieProof {
  Inclusion inclusion = Inclusion::PRESENT;
  uint8_t steps = 0;                   // Interior nodes from the root to the leaf.
  kj::ArrayPtr<const kj::byte> flags;  // Bit d, from the top: an interim stands for depth d.
  Path path;
  Payload payload;  // An absent register: no key, no value.
  Interims interims;

  bool flag(unsigned depth) const { return flags[depth / 8] >> (7 - depth % 8) & 1; }
};

// Flag bytes of every proof that the ledger makes.
constexpr size_t PROOF_FLAGS_SIZE = 32;

// Bytes of a proof inside a batch, without the length before it.
uint64_t encodedSize(const TrieProof& proof);
// Throws if the flags or interims do not fit their counts, or a path length is not a path's.
void encodeProof(ByteWriter& writer, const TrieProof& proof);

// Error: BAD_ENCODING. FLOW_GO also takes an inclusion byte other than 0x80 and 0x00 (bit 7
// counts), bytes after a proof or its payload, and payloads of zero bytes. Any number of flag bytes
// decodes: verifying is what refuses them.
Result<TrieProof> decodeProof(kj::ArrayPtr<const kj::byte> bytes,
                              Strictness strictness = Strictness::STRICT);

// With prefix, as a file of its own.
kj::Array<kj::byte> encodeStandaloneProof(const TrieProof& proof);
Result<TrieProof> decodeStandaloneProof(kj::ArrayPtr<const kj::byte> bytes,
                                        Strictness strictness = Strictness::STRICT);

kj::Array<kj::byte> encodeBatch(kj::ArrayPtr<const TrieProof> proofs);

// As decodeProof(); the message names the proof by its index.
Result<kj::Array<TrieProof>> decodeBatch(kj::ArrayPtr<const kj::byte> bytes,
                                         Strictness strictness = Strictness::STRICT);

}  // namespace ledger
