// SPDX-License-Identifier: Apache-2.0
#pragma once
// A file system of a test's own, small enough to fill up.

#include "tests/testing/scratch-folder.h"

#include <kj/memory.h>
#include <kj/one-of.h>
#include <kj/string.h>

#include <string>

namespace ledger::testing {

// A tmpfs in a mount namespace that the process enters with the first one: nobody else sees it, and
// it goes with the process, however that ends. Thread: one, the process's only one at first.
class SmallDisk final {
public:
  // Of `size` bytes; or why none can be made here.
  static kj::OneOf<kj::Own<SmallDisk>, kj::String> create(uint64_t size);

  ~SmallDisk();
  KJ_DISALLOW_COPY(SmallDisk);

  const std::string& path() const { return folder.path(); }

  // Takes all space but about `left` bytes; and gives it back.
  void fill(uint64_t left);
  void empty();

  SmallDisk() = default;  // Use create().

private:
  ScratchFolder folder;  // Where it is mounted.
};

}  // namespace ledger::testing
