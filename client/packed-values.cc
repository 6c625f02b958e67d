// SPDX-License-Identifier: Apache-2.0
#include "client/packed-values.h"

#include "schema/little-endian.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

constexpr uint64_t HEADER_BYTES = 8;  // Count and zero.
constexpr uint64_t LENGTH_BYTES = 4;

}  // namespace

Values readPackedValues(Received received, size_t count) {
  auto pieces = received.pieces.asPtr();
  auto header = pieces.size() > 0 ? pieces[0] : nullptr;
  KJ_REQUIRE(header.size() >= HEADER_BYTES, "the server's list of values has no header",
             header.size());
  auto found = rpc::loadLittle<uint32_t>(header.begin());
  auto zero = rpc::loadLittle<uint32_t>(header.begin() + 4);
  KJ_REQUIRE(zero == 0, "the server's list of values is malformed", zero);
  KJ_REQUIRE(found == count, "the server did not answer with one value for each key", found, count);
  auto rest = header.slice(HEADER_BYTES, header.size());
  KJ_REQUIRE(count <= rest.size() / LENGTH_BYTES,
             "the server's list of values is shorter than its own header", count, header.size());

  auto lengths = rest.begin();
  rest = rest.slice(count * LENGTH_BYTES, rest.size());
  size_t piece = 0;
  auto items = kj::heapArrayBuilder<kj::ArrayPtr<const kj::byte>>(count);
  for (size_t i = 0; i < count; ++i) {
    // volatile: or the compiler might load the number again after the check.
    const volatile uint32_t once = rpc::loadLittle<uint32_t>(lengths + i * LENGTH_BYTES);
    const uint32_t length = once;
    // An empty item belongs to no piece in particular.
    while (length > 0 && rest.size() == 0 && piece + 1 < pieces.size()) rest = pieces[++piece];
    KJ_REQUIRE(length <= rest.size(), "a value of the server's list reaches beyond its piece", i,
               length, rest.size());
    items.add(rest.slice(0, length));
    rest = rest.slice(length, rest.size());
  }
  uint64_t left = rest.size();
  while (++piece < pieces.size()) left += pieces[piece].size();
  KJ_REQUIRE(left == 0, "bytes follow the server's list of values", left);
  return Values(items.finish(), kj::mv(received.lease), received.place);
}

}  // namespace ledger::client
