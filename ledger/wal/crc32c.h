// SPDX-License-Identifier: Apache-2.0
#pragma once
// CRC-32C (Castagnoli: reflected polynomial 0x82F63B78, initial value and final xor all ones), the
// checksum of WAL fragments and of checkpoint files.
//
// Uses the processor's crc32 instruction where there is one, three streams side by side, since one
// instruction takes three cycles and a new one can start in each; tables elsewhere.

#include <kj/array.h>

#include <cstdint>

namespace ledger {

// The checksum of what `crc` is the checksum of, followed by `bytes`. Of nothing it is 0.
// Thread: any.
uint32_t extendCrc32c(uint32_t crc, kj::ArrayPtr<const kj::byte> bytes);

inline uint32_t crc32c(kj::ArrayPtr<const kj::byte> bytes) {
  return extendCrc32c(0, bytes);
}

// The two ways to the same result, for tests and benchmarks.
uint32_t extendCrc32cByTable(uint32_t crc, kj::ArrayPtr<const kj::byte> bytes);
bool haveCrc32cInstruction();
// Requires haveCrc32cInstruction().
uint32_t extendCrc32cByInstruction(uint32_t crc, kj::ArrayPtr<const kj::byte> bytes);

}  // namespace ledger
