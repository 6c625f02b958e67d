// SPDX-License-Identifier: Apache-2.0
#pragma once
// Little-endian numbers at any address.

#include <kj/common.h>

#include <bit>
#include <cstdint>
#include <cstring>

namespace ledger::rpc {

static_assert(std::endian::native == std::endian::little, "shared memory holds native numbers");

template <typename Number>
Number loadLittle(const kj::byte* from) {
  Number result;
  memcpy(&result, from, sizeof(result));
  return result;
}

template <typename Number>
void storeLittle(kj::byte* to, Number number) {
  memcpy(to, &number, sizeof(number));
}

}  // namespace ledger::rpc
