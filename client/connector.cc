// SPDX-License-Identifier: Apache-2.0
#include "client/connector.h"

#include <kj/debug.h>

#include <errno.h>

namespace ledger::client {
namespace {

kj::String toAddress(kj::StringPtr address) {
  KJ_REQUIRE(address.size() > 0, "the server's address is empty");
  if (address.startsWith("unix:") || address.startsWith("unix-abstract:")) return kj::str(address);
  return kj::str("unix:", address);
}

kj::String programName(kj::StringPtr given) {
  return kj::str(given.size() > 0 ? given : kj::StringPtr(program_invocation_short_name));
}

// An exception for people: its text is the message alone.
kj::Exception failure(kj::Exception::Type type, kj::String message) {
  return kj::Exception(type, __FILE__, __LINE__, kj::mv(message));
}

// Whether another attempt may fare better.
bool isPassing(const Error& refusal) {
  return refusal.code == Code::UNAVAILABLE || refusal.code == Code::RESOURCE_EXHAUSTED;
}

}  // namespace

Connector::Connector(kj::Network& network, kj::Timer& timer, const kj::MonotonicClock& clock,
                     const ConnectOptions& options, RandomSource& random)
    : network(network),
      timer(timer),
      clock(clock),
      random(random),
      address(toAddress(options.address)),
      name(programName(options.connection.name)),
      options(options) {
  this->options.address = address;
  this->options.connection.name = name;
}

kj::Promise<kj::Own<SessionClient>> Connector::connect() {
  return attempt(kj::heap<Attempts>(Attempts{
      .backoff = Backoff(options.backoff, random),
      .deadline = clock.now() + options.connectTimeout,
  }));
}

kj::Promise<kj::Own<SessionClient>> Connector::attempt(kj::Own<Attempts> attempts) {
  ++attempts->count;
  return attemptOnce().then([this, attempts = kj::mv(attempts)](
                                Outcome outcome) mutable -> kj::Promise<kj::Own<SessionClient>> {
    KJ_SWITCH_ONEOF(outcome) {
      KJ_CASE_ONEOF(connection, kj::Own<Connection>) {
        return kj::refcounted<SessionClient>(kj::mv(connection));
      }
      KJ_CASE_ONEOF(refusal, Error) {
        if (isPassing(refusal)) return attemptLater(kj::mv(attempts), refusal.message);
        return failure(
            kj::Exception::Type::FAILED,
            kj::str("the ledger at ", address, " refused the connection: ", refusal.message));
      }
      KJ_CASE_ONEOF(exception, kj::Exception) {
        return attemptLater(kj::mv(attempts), exception.getDescription());
      }
    }
    KJ_UNREACHABLE;
  });
}

kj::Promise<Connector::Outcome> Connector::attemptOnce() {
  auto connected = network.parseAddress(address)
                       .then([](kj::Own<kj::NetworkAddress> address) {
                         auto connecting = address->connect();
                         return connecting.attach(kj::mv(address));
                       })
                       .then([this](kj::Own<kj::AsyncIoStream> stream) {
                         // Both ends of a Unix socket can pass descriptors.
                         return Connection::open(stream.downcast<kj::AsyncCapabilityStream>(),
                                                 timer, options.connection);
                       });
  return timer.timeoutAt(clock.now() + options.handshakeTimeout, kj::mv(connected))
      .then(
          [](Result<kj::Own<Connection>> result) -> Outcome {
            KJ_IF_MAYBE (refusal, result.tryGet<Error>()) return kj::mv(*refusal);
            return kj::mv(result.get<kj::Own<Connection>>());
          },
          [](kj::Exception&& exception) -> Outcome { return kj::mv(exception); });
}

kj::Promise<kj::Own<SessionClient>> Connector::attemptLater(kj::Own<Attempts> attempts,
                                                            kj::StringPtr reason) {
  auto wait = attempts->backoff.next();
  auto next = clock.now() + wait;
  if (next > attempts->deadline) {
    return failure(kj::Exception::Type::DISCONNECTED,
                   kj::str("cannot connect to the ledger at ", address, ": ", reason, " (",
                           attempts->count, attempts->count == 1 ? " attempt)" : " attempts)"));
  }
  return timer.atTime(next).then(
      [this, attempts = kj::mv(attempts)]() mutable { return attempt(kj::mv(attempts)); });
}

}  // namespace ledger::client
