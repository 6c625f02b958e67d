// SPDX-License-Identifier: Apache-2.0
#pragma once
// A leaf's payload as checkpoints hold it: u32 length of the key, encoded key, u32 length of the
// value, value (flow-go's payload encoding of version 1, without prefix).

#include "ledger/model.h"

#include <kj/string.h>

namespace ledger {

// Into `bytes`, which must be the payload to the byte. Throws otherwise; `file` and `offset` say
// where the bytes are from.
Payload decodeCheckpointPayload(kj::ArrayPtr<const kj::byte> bytes, kj::StringPtr file,
                                uint64_t offset);

}  // namespace ledger
