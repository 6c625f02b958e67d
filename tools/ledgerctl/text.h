// SPDX-License-Identifier: Apache-2.0
#pragma once
// How things look to people.

#include "ledger/error.h"
#include "ledger/model.h"

#include <kj/exception.h>
#include <kj/string.h>

namespace ledgerctl {

// "512 bytes", "1.5 MiB".
kj::String sizeText(uint64_t bytes);

// Bytes for people: text where all of them are printable, else hex, and of long ones the beginning.
kj::String previewText(kj::ArrayPtr<const kj::byte> bytes);

// As people write the key; hex if it does not decode.
kj::String keyText(ledger::EncodedKey key);

kj::StringPtr codeName(ledger::Code code);        // "NOT_FOUND"
kj::StringPtr reasonName(ledger::Reason reason);  // "UNKNOWN_STATE"

// What a fault's exception says, without the condition in the source that did not hold.
kj::StringPtr faultText(const kj::Exception& exception);

// With blanks before it, to `width` characters.
kj::String padded(uint64_t number, size_t width);

// "1 register", "2 registers".
kj::String countText(uint64_t count, kj::StringPtr thing);

}  // namespace ledgerctl
