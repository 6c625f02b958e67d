// SPDX-License-Identifier: Apache-2.0
#pragma once
// The registers and the picks of every benchmark: the same on both sides of a comparison, and from
// run to run. flow-go/workload.go makes the same; the tests of both hold them to the same numbers.
//
// All come from splitmix64 (Steele, Lea, Flood 2014): state += 0x9e3779b97f4a7c15, then
// z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9, z = (z ^ z >> 27) * 0x94d049bb133111eb, z ^ z >> 31.
// mix(x) is the first output from state x. stream(a, b, c) starts from state
// mix(mix(mix(a) + b) + c), modulo 2^64; its bytes are its outputs, little-endian.
//
//   key of register i        the first 30 bytes of stream(seed, i, 0): owner (8 bytes, type 0) and
//                            name (22 bytes, type 2)
//   its value, version v     the first bytes of stream(seed, i, v), v >= 1; the load writes version
//   1 picks of a case's run r  stream(seed, FNV-1a(name of the case), r), each output modulo the
//   number
//                            of registers; within one request a register that is already in it is
//                            passed over

#include "ledger/model.h"

#include <kj/array.h>
#include <kj/string.h>

#include <algorithm>

namespace ledger::bench {

constexpr size_t OWNER_BYTES = 8;
constexpr size_t NAME_BYTES = 22;
constexpr size_t VALUE_BYTES = 128;

class SplitMix64 {
public:
  explicit SplitMix64(uint64_t state) : state(state) {}

  uint64_t next();
  void fill(kj::ArrayPtr<kj::byte> out);

private:
  uint64_t state;
};

SplitMix64 stream(uint64_t a, uint64_t b, uint64_t c);

// Byte strings of equal length, back to back, and where each lies: what the ledger takes as keys or
// values.
struct ByteStrings {
  kj::Array<kj::byte> bytes;
  kj::Array<kj::ArrayPtr<const kj::byte>> items;
};

// Draws the registers of one run of one case.
class Picks {
public:
  Picks(SplitMix64 random, uint64_t registers) : random(random), registers(registers) {}

  // The same draws, from the first ones alone.
  Picks among(uint64_t first) const { return Picks(random, std::min(first, registers)); }

  uint64_t one() { return random.next() % registers; }
  // No two the same. Throws if there are fewer registers.
  kj::Array<uint64_t> distinct(size_t count);

private:
  SplitMix64 random;
  uint64_t registers;
};

struct Workload {
  uint64_t seed;
  uint64_t registers;

  kj::Array<kj::byte> key(uint64_t of) const;  // Encoded.
  kj::Array<kj::byte> value(uint64_t of, uint64_t version, size_t length = VALUE_BYTES) const;

  ByteStrings keys(kj::ArrayPtr<const uint64_t> of) const;
  ByteStrings values(kj::ArrayPtr<const uint64_t> of, uint64_t version) const;

  Picks picks(kj::StringPtr caseName, uint64_t run) const;
};

// first, first + 1, ... up to `end`, exclusive.
kj::Array<uint64_t> range(uint64_t first, uint64_t end);

}  // namespace ledger::bench
