// SPDX-License-Identifier: Apache-2.0
#include "client/connection.h"

#include "client/inline-transport.h"
#include "client/messages.h"
#include "client/shm-transport.h"
#include "ledger/trie/format.h"
#include "schema/message-limits.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

uint64_t offeredFeatures(const ConnectionOptions& options) {
  if (options.transport == TransportChoice::INLINE) return 0;
  return rpc::FEATURE_SHARED_MEMORY | (options.storeViews ? uint64_t(rpc::FEATURE_TABLES) : 0) |
         (options.directReads ? uint64_t(rpc::FEATURE_STATE_VIEWS) : 0);
}

}  // namespace

kj::Own<const DirectReads> directReadsOf(const ConnectionOptions& options) {
  KJ_IF_MAYBE (shared, options.reads) return kj::atomicAddRef(*shared);
  return kj::atomicRefcounted<DirectReads>(options.storeViews);
}

Connection::Connection(kj::Own<kj::AsyncCapabilityStream> from, const ConnectionOptions& options)
    : reads(directReadsOf(options)),
      ownMessageWords(rpc::messageWordsFor(options.maxPayloadBytes)),
      stream(kj::mv(from)),
      messages(*stream),
      // At least one descriptor: a network that takes none does not send any either.
      network(messages, 1, capnp::rpc::twoparty::Side::CLIENT,
              rpc::readerOptionsFor(ownMessageWords)),
      rpcSystem(capnp::makeRpcClient(network)),
      watch(network.onDisconnect()
                .then([this]() { noteLoss(); })
                .eagerlyEvaluate([this](kj::Exception&&) { noteLoss(); })) {}

void Connection::noteLoss() {
  lost = true;
  KJ_IF_MAYBE (opener, views()) opener->noteLoss();
  whenLost.fulfiller->fulfill();
}

kj::Promise<Result<kj::Own<Connection>>> Connection::open(kj::Own<kj::AsyncCapabilityStream> stream,
                                                          kj::Timer& timer,
                                                          const ConnectionOptions& options) {
  auto connection = kj::heap<Connection>(kj::mv(stream), options);
  auto& ref = *connection;
  return ref.shakeHands(timer, options)
      .then([connection = kj::mv(connection)](
                kj::Maybe<Error> refusal) mutable -> Result<kj::Own<Connection>> {
        KJ_IF_MAYBE (error, refusal) return kj::mv(*error);
        return kj::mv(connection);
      });
}

kj::Promise<kj::Maybe<Error>> Connection::shakeHands(kj::Timer& timer,
                                                     const ConnectionOptions& options) {
  capnp::word scratch[4];
  memset(scratch, 0, sizeof(scratch));
  capnp::MallocMessageBuilder message(scratch);
  auto server = message.initRoot<capnp::rpc::twoparty::VatId>();
  server.setSide(capnp::rpc::twoparty::Side::SERVER);
  auto request = rpcSystem.bootstrap(server).castAs<rpc::Ledgerd>().connectRequest();
  auto hello = request.initHello();
  hello.setMinVersion(rpc::PROTOCOL_VERSION);
  hello.setMaxVersion(rpc::PROTOCOL_VERSION);
  hello.setFeatures(offeredFeatures(options));
  hello.setName(options.name);
  hello.setMessageWords(ownMessageWords);
  hello.setStoreLayout(LAYOUT_VERSION);
  return request.send().then(
      [this, &timer, options](capnp::Response<rpc::ConnectReply> reply) -> kj::Maybe<Error> {
        switch (reply.which()) {
          case rpc::ConnectReply::WELCOME:
            return agree(reply.getWelcome(), timer, options);
          case rpc::ConnectReply::ERROR:
            return readError(reply.getError());
          default:
            KJ_FAIL_REQUIRE("the server's answer to the handshake is of no known kind",
                            static_cast<uint32_t>(reply.which()));
        }
      });
}

kj::Maybe<Error> Connection::agree(rpc::Welcome::Reader welcome, kj::Timer& timer,
                                   const ConnectionOptions& options) {
  KJ_REQUIRE(welcome.getVersion() == rpc::PROTOCOL_VERSION,
             "the server chose a version that was not offered", welcome.getVersion());
  auto surplus = welcome.getFeatures() & ~offeredFeatures(options);
  KJ_REQUIRE(surplus == 0, "the server chose features that were not offered", surplus);
  auto limits = readLimits(welcome.getLimits());
  bool shared = welcome.getFeatures() & rpc::FEATURE_SHARED_MEMORY;
  if (!shared && options.transport == TransportChoice::SHM) {
    return makeError(Code::FAILED_PRECONDITION, Reason::UNSPECIFIED,
                     "the server does not offer shared memory, which was asked for");
  }

  auto session = welcome.getSession();
  kj::Own<Transport> transport;
  kj::Maybe<kj::Own<ViewOpener>> views;
  if (shared) {
    auto made =
        kj::heap<ShmTransport>(session, timer,
                               ShmTransport::Options{
                                   .maxPayloadBytes = options.maxPayloadBytes,
                                   .mappingIdle = options.mappingIdle,
                                   .requestArenas = {.count = limits.registeredArenas,
                                                     .bytes = options.requestArenaBytes,
                                                     .idleBytes = options.idleRequestArenaBytes},
                               });
    if (welcome.getFeatures() & rpc::FEATURE_STATE_VIEWS) {
      views = kj::heap<ViewOpener>(session, *made, timer, options.mappingIdle,
                                   kj::atomicAddRef(*reads));
    }
    transport = kj::mv(made);
  } else {
    transport = kj::heap<InlineTransport>();
  }
  agreed = Agreed{kj::mv(session), limits, kj::mv(transport), kj::mv(views)};
  return nullptr;
}

}  // namespace ledger::client
