// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a command works on, from arguments and files: states, keys, updates.
//
// Files are JSON lines, one object a line, "-" is standard input:
//   keys      [{"type":0,"value":"f233dcee88fe0abe"},{"type":2,"value":"73746f72616765"}]
//   updates   {"key":[{"type":0,"value":""},{"type":2,"value":"75756964"}],"value":"0a0b"}
// Values are hex. An empty or null value unallocates its register.

#include "ledger/model.h"
#include "tools/ledgerctl/key-text.h"

#include <string>
#include <vector>

namespace ledgerctl {

// A state as it was named: by its hash, or by its place in the forest.
struct Latest {};
struct Initial {};
using StateName = kj::OneOf<ledger::RootHash, Latest, Initial>;

// 64 hex digits, "latest" or "initial".
Parsed<StateName> parseState(kj::StringPtr text);

// An encoded key.
using Key = kj::Array<kj::byte>;

struct Update {
  Key key;
  kj::Array<kj::byte> value;
};

// The keys of the arguments, then those of `file` (none if it is empty).
Parsed<kj::Array<Key>> readKeys(const std::vector<std::string>& texts, const std::string& file);

// An argument is KEY=VALUE, where VALUE is text, hex behind 0x, or @ and the name of a file.
Parsed<kj::Array<Update>> readUpdates(const std::vector<std::string>& texts,
                                      const std::string& file);

Parsed<kj::Array<kj::byte>> readFile(const std::string& path);

kj::Array<ledger::EncodedKey> viewsOf(kj::ArrayPtr<const Key> keys);

}  // namespace ledgerctl
