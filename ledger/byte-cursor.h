// SPDX-License-Identifier: Apache-2.0
#pragma once
// Big-endian numbers and spans of bytes, read from and written to bounded memory.
//
// A ByteReader never reads past its bytes: the first read that wants more than is left fails, and
// so does every later one, so a decoder reads a few fields and then asks once. A value read from a
// failed reader is zero or empty. Lengths are 64-bit and compared with what is left, so that no
// length from outside can overflow.

#include "ledger/error.h"

#include <kj/common.h>
#include <kj/debug.h>

#include <cstdint>
#include <cstring>

namespace ledger {

class ByteReader final {
public:
  explicit ByteReader(kj::ArrayPtr<const kj::byte> bytes) : all(bytes) {}

  bool ok() const { return !failed; }
  size_t offset() const { return position; }
  size_t remaining() const { return all.size() - position; }

  uint8_t u8() { return number<1>(); }
  uint16_t u16() { return number<2>(); }
  uint32_t u32() { return number<4>(); }
  uint64_t u64() { return number<8>(); }

  kj::ArrayPtr<const kj::byte> bytes(uint64_t length) {
    if (failed) return nullptr;
    if (length > remaining()) {
      failed = true;
      wanted = length;
      return nullptr;
    }
    auto result = all.slice(position, position + length);
    position += length;
    return result;
  }

  kj::ArrayPtr<const kj::byte> rest() { return bytes(remaining()); }

  // What the failed read wanted. Only if !ok().
  Error shortage(kj::StringPtr what, Reason reason = Reason::BAD_ENCODING) const {
    return makeError(Code::INVALID_ARGUMENT, reason, what, ": ", wanted, " bytes wanted at offset ",
                     position, ", ", remaining(), " are left");
  }

  // For bytes that should have ended at offset().
  Error surplus(kj::StringPtr what, Reason reason = Reason::BAD_ENCODING) const {
    return makeError(Code::INVALID_ARGUMENT, reason, what, " ends at offset ", position, ", but ",
                     remaining(), " bytes follow");
  }

private:
  template <unsigned SIZE>
  uint64_t number() {
    uint64_t result = 0;
    for (kj::byte b : bytes(SIZE)) result = result << 8 | b;
    return result;
  }

  kj::ArrayPtr<const kj::byte> all;
  size_t position = 0;
  bool failed = false;
  uint64_t wanted = 0;
};

// Fills memory whose size was computed before: writing past its end is our bug and throws.
class ByteWriter final {
public:
  explicit ByteWriter(kj::ArrayPtr<kj::byte> out) : left(out) {}

  size_t remaining() const { return left.size(); }

  void u8(uint8_t value) { number<1>(value); }
  void u16(uint16_t value) { number<2>(value); }
  void u32(uint32_t value) { number<4>(value); }
  void u64(uint64_t value) { number<8>(value); }

  void bytes(kj::ArrayPtr<const kj::byte> from) {
    auto target = reserve(from.size());
    if (from.size() > 0) memcpy(target.begin(), from.begin(), from.size());
  }

  // The next `length` bytes, for the caller to fill.
  kj::ArrayPtr<kj::byte> reserve(size_t length) {
    KJ_ASSERT(length <= left.size(), "an encoding is longer than its computed size", length,
              left.size());
    auto result = left.slice(0, length);
    left = left.slice(length, left.size());
    return result;
  }

private:
  template <unsigned SIZE>
  void number(uint64_t value) {
    auto target = reserve(SIZE);
    for (unsigned i = 0; i < SIZE; ++i) target[i] = value >> (8 * (SIZE - 1 - i));
  }

  kj::ArrayPtr<kj::byte> left;
};

}  // namespace ledger
