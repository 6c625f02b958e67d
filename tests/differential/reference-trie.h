// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ledger's trie as its definition says it, with no thought of speed: the registers of a state
// in a map, and a hash that is worked out from nothing each time it is asked for.
//
// Source: docs/formats.md, "Hashes" and "Proofs".

#include "ledger/model.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace ledger {

// A proof as it should be.
struct ReferenceProof {
  unsigned steps = 0;                  // Levels from the root down to where the register is alone.
  std::vector<unsigned> flaggedDepths; // Where the hash beside the way is not an empty subtrie's.
  std::vector<Hash> interims;          // Those hashes, from the root down.
  std::string value;
};

class ReferenceTrie {
public:
  // Of a register; an empty value unallocates it.
  void set(const Path& path, std::string value);
  std::string get(const Path& path) const;

  RootHash root() const;

  // Of one of `asked`. Those that are absent stand in the trie with no value while they are proven.
  ReferenceProof prove(const Path& path, const std::set<Path>& asked) const;

private:
  std::map<Path, std::string> registers;  // No empty values.
};

}  // namespace ledger
