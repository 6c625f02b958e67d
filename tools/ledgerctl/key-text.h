// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keys as people type them: parts separated by slashes, each `type:value`.
//
//   0:0xf233dcee88fe0abe/2:storage    two parts; the first in hex, the second as text
//   0:/2:a%2fb                        the first is empty; the second is `a/b`
//                                     (nothing at all: the key without parts)
//
// A value is text, or hex behind 0x. In text `%` and two hex digits stand for any byte; `%`, `/`,
// `=` and a leading 0x that is meant as text must be written so (%25, %2f, %3d, %30x).

#include <kj/array.h>
#include <kj/one-of.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <cstdint>

namespace ledgerctl {

struct TextPart {
  uint16_t type;
  kj::Array<kj::byte> value;
};

// What is wrong with a text: shown to whoever typed it.
struct BadText {
  kj::String why;
};

template <typename T>
using Parsed = kj::OneOf<T, BadText>;

Parsed<kj::Array<TextPart>> parseKeyText(kj::StringPtr text);

// A text that parses to the same parts: as text where every byte is printable ASCII, else in hex.
kj::String toKeyText(kj::ArrayPtr<const TextPart> parts);

// Pairs of hex digits, either case. Null: something else.
kj::Maybe<kj::Array<kj::byte>> parseHex(kj::ArrayPtr<const char> digits);

kj::String toHex(kj::ArrayPtr<const kj::byte> bytes);

}  // namespace ledgerctl
