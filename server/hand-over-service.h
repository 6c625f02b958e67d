// SPDX-License-Identifier: Apache-2.0
#pragma once
// The hand-over socket, served: one request and one reply a connection, with the descriptor of one
// arena beside one of them. For clients whose Cap'n Proto cannot pass descriptors.
//
// Whoever connects has a deadline, and so many connections at the most: a new one ends the oldest,
// which is one that has not said yet what it wants, since a request is answered at once.

#include "server/hand-over-tokens.h"

#include <kj/async-io.h>
#include <kj/timer.h>

#include <map>

namespace ledger::server {

// Thread: its loop.
class HandOverService final : private kj::TaskSet::ErrorHandler {
public:
  static constexpr size_t MOST_CONNECTIONS = 32;  // Each may hold three descriptors for a moment.
  static constexpr kj::Duration DEADLINE = 10 * kj::SECONDS;

  // `tokens` and `timer` outlive it.
  HandOverService(const HandOverTokens& tokens, kj::Timer& timer);
  ~HandOverService() noexcept(false);

  // Serves one connection. `stream` must be able to carry descriptors.
  void serve(kj::Own<kj::AsyncIoStream> stream);

  size_t count() const { return open.size(); }

private:
  class Connection;

  void taskFailed(kj::Exception&& exception) override;

  const HandOverTokens& tokens;
  kj::Timer& timer;
  uint64_t accepted = 0;
  std::map<uint64_t, kj::Own<Connection>> open;  // From the oldest to the newest.
  kj::TaskSet ended;                             // Forgets those that are done.
};

}  // namespace ledger::server
