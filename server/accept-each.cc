// SPDX-License-Identifier: Apache-2.0
#include "server/accept-each.h"

#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

// Accepting fails while descriptors are short; the next attempt waits this long.
constexpr kj::Duration ACCEPT_PAUSE = 100 * kj::MILLISECONDS;

using Serve = kj::Function<void(kj::Own<kj::AsyncIoStream>)>;

kj::Promise<void> acceptOneByOne(kj::ConnectionReceiver& receiver, kj::Timer& timer,
                                 Serve& serve) {
  return receiver.accept()
      .then(
          [&serve](kj::Own<kj::AsyncIoStream>&& stream) -> kj::Promise<void> {
            serve(kj::mv(stream));
            return kj::READY_NOW;
          },
          [&timer](kj::Exception&& exception) -> kj::Promise<void> {
            spdlog::error("cannot accept a connection: {}", exception.getDescription().cStr());
            return timer.afterDelay(ACCEPT_PAUSE);
          })
      .then([&receiver, &timer, &serve]() { return acceptOneByOne(receiver, timer, serve); });
}

}  // namespace

kj::Promise<void> acceptEach(kj::ConnectionReceiver& receiver, kj::Timer& timer, Serve serve) {
  auto kept = kj::heap<Serve>(kj::mv(serve));
  auto& used = *kept;
  return acceptOneByOne(receiver, timer, used).attach(kj::mv(kept));
}

}  // namespace ledger::server
