// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tells a disk that does not read from content that is wrong.
//
// Of a file that cannot be read nobody knows whether it is damaged, so it must not be treated as if
// it were. A reader's exceptions about what it read are FAILED; those from here are DISCONNECTED.

#include <kj/debug.h>
#include <kj/exception.h>
#include <kj/string.h>

namespace ledger {

// Calls `read`, which asks the disk for bytes of file `name` from `offset` on, or whether it is
// there, and returns what that returns.
template <typename Read>
auto readOrBlameDisk(kj::StringPtr name, uint64_t offset, Read&& read) {
  kj::Maybe<decltype(read())> result;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { result = read(); })) {
    kj::throwFatalException(kj::Exception(
        kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
        kj::str("file ", name, " cannot be read at offset ", offset, ": ",
                exception->getDescription(),
                ". What it holds may be sound: try again, and look at the disk")));
  }
  return kj::mv(KJ_ASSERT_NONNULL(result));
}

inline bool isReadFault(const kj::Exception& exception) {
  return exception.getType() == kj::Exception::Type::DISCONNECTED;
}

}  // namespace ledger
