// SPDX-License-Identifier: Apache-2.0
#include "server/connections.h"

#include "schema/message-limits.h"

#include <capnp/rpc-twoparty.h>
#include <capnp/rpc.h>
#include <capnp/serialize-async.h>
#include <kj/debug.h>
#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

// A client sends one descriptor in a message, with an arena that it registers, and is sent one.
constexpr uint32_t MAX_FDS_PER_MESSAGE = 1;

// Accepting fails while descriptors are short; the next attempt waits this long.
constexpr kj::Duration ACCEPT_PAUSE = 100 * kj::MILLISECONDS;

// Messages over one socket, counted while they are being written. The one place that says how
// messages are framed.
class CountedStream final : public capnp::MessageStream {
public:
  CountedStream(kj::AsyncCapabilityStream& stream, InFlight& writes)
      : inner(stream), writes(writes) {}

  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratch) override {
    return inner.tryReadMessage(fdSpace, options, scratch);
  }
  kj::Promise<void> writeMessage(
      kj::ArrayPtr<const int> fds,
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override {
    return counted([&]() { return inner.writeMessage(fds, segments); });
  }
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override {
    return counted([&]() { return inner.writeMessages(messages); });
  }
  kj::Maybe<int> getSendBufferSize() override { return inner.getSendBufferSize(); }
  kj::Promise<void> end() override { return inner.end(); }

private:
  // A write to a peer that has gone may throw at once.
  template <typename Write>
  kj::Promise<void> counted(Write&& write) {
    writes.begin();
    return kj::evalNow(write).attach(kj::defer([this]() { writes.end(); }));
  }

  capnp::AsyncCapabilityMessageStream inner;
  InFlight& writes;
};

}  // namespace

// Members are in the order in which they use each other: destroyed from the last to the first.
class Connections::Connection {
public:
  Connection(Connections& owner, kj::Own<kj::AsyncCapabilityStream> accepted)
      : owner(owner),
        stream(kj::mv(accepted)),
        messages(*stream, owner.writes),
        network(messages, MAX_FDS_PER_MESSAGE, capnp::rpc::twoparty::Side::SERVER,
                rpc::readerOptionsFor(owner.host.limits.messageWords)),
        system(capnp::makeRpcServer(network, newLedgerd(owner.host, owner.calls))) {
    // A client's calls may hold two of the longest requests; more wait in the socket.
    system.setFlowLimit(2 * owner.host.limits.messageWords);
    ++owner.open;
  }
  ~Connection() noexcept(false) { --owner.open; }

  kj::Promise<void> whenGone() { return network.onDisconnect(); }

private:
  Connections& owner;
  kj::Own<kj::AsyncCapabilityStream> stream;
  CountedStream messages;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> system;
};

Connections::Connections(const Host& host, InFlight& calls, kj::Timer& timer)
    : host(host), calls(calls), timer(timer), tasks(*this) {}

Connections::~Connections() noexcept(false) {}

kj::Promise<void> Connections::acceptFrom(kj::ConnectionReceiver& receiver) {
  return receiver.accept()
      .then(
          [this](kj::Own<kj::AsyncIoStream>&& stream) -> kj::Promise<void> {
            serve(kj::mv(stream));
            return kj::READY_NOW;
          },
          [this](kj::Exception&& exception) -> kj::Promise<void> {
            spdlog::error("cannot accept a connection: {}", exception.getDescription().cStr());
            return timer.afterDelay(ACCEPT_PAUSE);
          })
      .then([this, &receiver]() { return acceptFrom(receiver); });
}

void Connections::serve(kj::Own<kj::AsyncIoStream> stream) {
  if (open >= host.limits.connections) {
    // Dropped at once: the client sees the end of the stream, and backs off.
    spdlog::warn("a connection was refused: {} are open, as many as may be", open);
    return;
  }
  auto connection = kj::heap<Connection>(*this, stream.downcast<kj::AsyncCapabilityStream>());
  auto gone = connection->whenGone();
  tasks.add(gone.attach(kj::mv(connection)));
}

kj::Promise<void> Connections::whenWritten() {
  // A reply that has just been filled reaches the stream some turns later: after all that is
  // queued.
  return kj::evalLast([this]() { return writes.whenNone(); }).then([this]() {
    return kj::evalLast([this]() { return writes.whenNone(); });
  });
}

void Connections::taskFailed(kj::Exception&& exception) {
  // A client that broke the protocol, or died in the middle of a message.
  spdlog::debug("a connection failed: {}", exception.getDescription().cStr());
}

}  // namespace ledger::server
