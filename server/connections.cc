// SPDX-License-Identifier: Apache-2.0
#include "server/connections.h"

#include "schema/message-limits.h"
#include "schema/message-stream.h"
#include "server/connection-load.h"

#include <capnp/rpc-twoparty.h>
#include <capnp/rpc.h>
#include <kj/debug.h>
#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

// A client sends one descriptor in a message, with an arena that it registers, and is sent one.
constexpr uint32_t MAX_FDS_PER_MESSAGE = 1;

// While a client's unanswered calls are longer together, nothing more is read from it; so they are
// at most this much and one longest message. What is counted is the messages of calls, from their
// arrival to their answer. --memory-limit counts the copies of their payloads, not the messages.
constexpr uint64_t UNANSWERED_WORDS = (uint64_t(64) << 20) / sizeof(capnp::word);

// Messages over one socket. No more are read from a client that is behind with reading, and what
// has not gone to the kernel is counted among the writes in flight.
class ClientStream final : public capnp::MessageStream,
                           private rpc::BufferedMessageStream::Listener {
public:
  ClientStream(kj::AsyncCapabilityStream& stream, InFlight& writes, ConnectionLoad& load)
      : writes(writes), load(load), inner(stream, *this) {}

  kj::Promise<kj::Maybe<capnp::MessageReaderAndFds>> tryReadMessage(
      kj::ArrayPtr<kj::AutoCloseFd> fdSpace, capnp::ReaderOptions options,
      kj::ArrayPtr<capnp::word> scratch) override {
    if (!load.isBehind()) return inner.tryReadMessage(fdSpace, options, scratch);
    return whenRead().then([this, fdSpace, options, scratch]() {
      return inner.tryReadMessage(fdSpace, options, scratch);
    });
  }
  kj::Promise<void> writeMessage(
      kj::ArrayPtr<const int> fds,
      kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments) override {
    return inner.writeMessage(fds, segments).attach(kj::defer([this]() { wake(); }));
  }
  kj::Promise<void> writeMessages(
      kj::ArrayPtr<kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>>> messages) override {
    return inner.writeMessages(messages).attach(kj::defer([this]() { wake(); }));
  }
  kj::Maybe<int> getSendBufferSize() override { return inner.getSendBufferSize(); }
  kj::Promise<void> end() override { return inner.end(); }

private:
  void beginWriting() override { writes.begin(); }
  void endWriting() override { writes.end(); }

  void wake() {
    KJ_IF_MAYBE (fulfiller, taken) (*fulfiller)->fulfill();
  }

  // Resolves once the client has read enough of its replies. For one read that waits at a time.
  kj::Promise<void> whenRead() {
    if (!load.isBehind()) return kj::READY_NOW;
    auto paf = kj::newPromiseAndFulfiller<void>();
    taken = kj::mv(paf.fulfiller);
    // The network takes a message out of its queue some turns after it was written.
    return paf.promise.then([this]() { return kj::evalLast([this]() { return whenRead(); }); });
  }

  InFlight& writes;
  ConnectionLoad& load;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> taken;  // Told when a message has been taken.
  rpc::BufferedMessageStream inner;
};

}  // namespace

// Members are in the order in which they use each other: destroyed from the last to the first.
class Connections::Connection {
public:
  Connection(Connections& owner, kj::Own<kj::AsyncCapabilityStream> accepted,
             const SocketTerms& socket)
      : owner(owner),
        stream(kj::mv(accepted)),
        load(kj::refcounted<ConnectionLoad>(owner.host.limits.messageWords)),
        messages(*stream, owner.writes, *load),
        network(messages, MAX_FDS_PER_MESSAGE, capnp::rpc::twoparty::Side::SERVER,
                rpc::readerOptionsFor(owner.host.limits.messageWords)),
        system(
            capnp::makeRpcServer(network, newLedgerd(owner.host, owner.calls, kj::addRef(*load),
                                                     PeerIdentity::of(*stream), socket))) {
    load->begin(network);
    system.setFlowLimit(kj::min(owner.host.limits.messageWords, UNANSWERED_WORDS));
    ++owner.open;
  }
  ~Connection() noexcept(false) {
    load->end();
    --owner.open;
  }

  kj::Promise<void> whenGone() { return network.onDisconnect(); }

private:
  Connections& owner;
  kj::Own<kj::AsyncCapabilityStream> stream;
  kj::Own<ConnectionLoad> load;
  ClientStream messages;
  capnp::TwoPartyVatNetwork network;
  capnp::RpcSystem<capnp::rpc::twoparty::VatId> system;
};

Connections::Connections(const Host& host, InFlight& calls)
    : host(host), calls(calls), tasks(*this) {}

Connections::~Connections() noexcept(false) {}

void Connections::serve(kj::Own<kj::AsyncIoStream> stream, const SocketTerms& socket) {
  if (open >= host.limits.connections) {
    // Dropped at once: the client sees the end of the stream, and backs off.
    spdlog::warn("a connection was refused: {} are open, as many as may be", open);
    return;
  }
  auto connection =
      kj::heap<Connection>(*this, stream.downcast<kj::AsyncCapabilityStream>(), socket);
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
