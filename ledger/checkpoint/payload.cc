// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/payload.h"

#include "ledger/checkpoint/part-stream.h"

#include <kj/debug.h>

namespace ledger {
namespace {

constexpr uint64_t LENGTH_SIZE = 4;

}  // namespace

Payload decodeCheckpointPayload(kj::ArrayPtr<const kj::byte> bytes, kj::StringPtr file,
                                uint64_t offset) {
  KJ_REQUIRE(bytes.size() >= 2 * LENGTH_SIZE, "a leaf's payload is too short for its two lengths",
             file, offset, bytes.size());
  uint64_t room = bytes.size() - 2 * LENGTH_SIZE;  // For key and value.
  uint64_t keyLength = readU32(bytes.slice(0, LENGTH_SIZE));
  KJ_REQUIRE(keyLength <= room && keyLength <= MAX_KEY_SIZE,
             "a leaf's key is longer than its payload", file, offset, bytes.size(), keyLength);
  uint64_t valueAt = LENGTH_SIZE + keyLength + LENGTH_SIZE;
  uint64_t valueLength = readU32(bytes.slice(valueAt - LENGTH_SIZE, valueAt));
  KJ_REQUIRE(
      !(keyLength == 0 && valueLength + 2 == room),
      "a leaf has a key of zero bytes, for which flow-go writes a payload length that is two "
      "bytes too large, so that neither it nor ledgers can read the checkpoint; use an older "
      "checkpoint",
      file, offset, bytes.size(), valueLength);
  KJ_REQUIRE(valueLength == room - keyLength && valueLength <= MAX_VALUE_SIZE,
             "a leaf's key and value do not fill its payload", file, offset, bytes.size(),
             keyLength, valueLength);
  return {.key = bytes.slice(LENGTH_SIZE, LENGTH_SIZE + keyLength),
          .value = bytes.slice(valueAt, bytes.size())};
}

}  // namespace ledger
