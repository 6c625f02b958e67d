// SPDX-License-Identifier: Apache-2.0
#pragma once
// A word of one state, in a general-purpose register: W of keccak-round.h. `Isa` is a type of the
// code that is compiled for one instruction set, so that no two of them share an instantiation.

#include <cstdint>

namespace ledger::hash::keccak {

template <typename Isa>
struct OneWord {
  static constexpr bool HAS_XOR3 = false;

  uint64_t v;

  static OneWord all(uint64_t k) { return {k}; }
  static OneWord sum(OneWord b, OneWord c) { return b ^ c; }
  OneWord operator^(OneWord b) const { return {v ^ b.v}; }
  OneWord chi(OneWord b, OneWord c) const { return {v ^ (~b.v & c.v)}; }

  template <unsigned N>
  OneWord rotl() const {
    return {v << N | v >> (64 - N)};
  }
};

}  // namespace ledger::hash::keccak
