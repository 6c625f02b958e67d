// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whom a socket's file belongs to, as it is written on the command line.

#include <kj/common.h>
#include <kj/one-of.h>
#include <kj/string.h>

#include <sys/types.h>

namespace ledger::server {

// Null: as the kernel makes it, the server's own.
struct SocketOwner {
  kj::Maybe<uid_t> user;
  kj::Maybe<gid_t> group;
};

// "user", "user:group" or ":group"; names that this machine knows, or numbers. Else why not.
kj::OneOf<SocketOwner, kj::String> parseSocketOwner(kj::StringPtr text);

}  // namespace ledger::server
