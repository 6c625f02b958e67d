// SPDX-License-Identifier: Apache-2.0
#pragma once
// The Unix socket that clients connect to, from before anybody can until its file is removed.

#include "server/socket-owner.h"

#include <kj/io.h>
#include <kj/string.h>

#include <sys/stat.h>

namespace ledger::server {

class ListenSocket final {
public:
  // Throws as the constructor would, and changes nothing: to be called before a long start.
  static void refuseIfTaken(kj::StringPtr path);

  // Binds and listens at `path`. Its permissions are `mode`, and it belongs to `owner`, before
  // anybody can connect. A socket file that nobody serves is replaced. Throws, and leaves
  // everything as it was, if somebody serves the socket, if anything else has that name, or if the
  // kernel refuses; the message says which.
  ListenSocket(kj::StringPtr path, mode_t mode, const SocketOwner& owner = {});

  // Removes the file, unless another has taken its name.
  ~ListenSocket() noexcept(false);
  KJ_DISALLOW_COPY(ListenSocket);

  // Another descriptor of the same socket, non-blocking: several loops may accept from it.
  kj::AutoCloseFd open() const;

  kj::StringPtr path() const { return name; }

private:
  kj::String name;
  kj::AutoCloseFd fd;
  struct stat file;  // What bind() made.
};

}  // namespace ledger::server
